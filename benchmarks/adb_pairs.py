"""Whether a device behind adb gives the figure that this machine gives: alternating pairs, the rig on the same CPU."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import device_bench
from benchmarks.bare_loop import export_mobilenet
from device_bench import stats
from device_bench.records import BenchSpec
from tests.rig.device import RigDevice

LIMITS = (0.97, 1.03)


def bench_ms(model: Path, device: str, seconds: float) -> float:
    measured = device_bench.benchmark(model, device, BenchSpec(min_seconds=seconds), power=False)
    if not measured.valid:
        raise SystemExit(f"{device}: rejected: {'; '.join(measured.rejections)}")
    return measured.median_ms


def compare(model: Path, device: str, pairs: int, seconds: float) -> dict[str, Any]:
    host: list[float] = []
    rig: list[float] = []
    for pair in range(pairs):
        turns = [("host", host), (device, rig)]
        for spec, figures in reversed(turns) if pair % 2 else turns:
            figures.append(bench_ms(model, spec, seconds))
    ratios = [there / here for there, here in zip(rig, host, strict=True)]
    low, high = stats.median_ci([ratios])
    return {
        "pairs": pairs,
        "seconds": seconds,
        "host_ms": median(host),
        "rig_ms": median(rig),
        "ratio": median(ratios),
        "ci95": [low, high],
        "within_limits": LIMITS[0] <= low and high <= LIMITS[1],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", type=Path, help="a TFLite file (default: MobileNetV2, 64 px)")
    parser.add_argument("--pairs", type=int, default=20, help="pairs of measurements (default: 20)")
    parser.add_argument("--seconds", type=float, default=1.0, help="time of each measurement's loop (default: 1)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, RigDevice() as rig:
        model = arguments.model or export_mobilenet(Path(folder))
        result = compare(model, rig.spec, arguments.pairs, arguments.seconds)
    low, high = result["ci95"]
    print(
        f"rig over adb / host = {result['ratio']:.4f} (95%: {low:.4f} to {high:.4f}, {result['pairs']} pairs); "
        f"the interval lies {'within' if result['within_limits'] else 'NOT within'} {LIMITS[0]} to {LIMITS[1]}"
    )
    print(json.dumps(result))
    if not result["within_limits"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
