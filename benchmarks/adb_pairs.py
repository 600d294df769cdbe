"""Whether a device behind adb gives the figure that this machine gives: alternating pairs, the rig on the same CPU."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import device_bench
from benchmarks._pairs import alternate, report
from benchmarks.bare_loop import export_mobilenet
from device_bench.records import BenchSpec
from tests.rig.device import RigDevice

LIMITS = (0.97, 1.03)


def bench_ms(model: Path, device: str, seconds: float) -> float:
    measured = device_bench.benchmark(model, device, BenchSpec(min_seconds=seconds), power=False)
    if not measured.valid:
        raise SystemExit(f"{device}: rejected: {'; '.join(measured.rejections)}")
    return measured.median_ms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", type=Path, help="a TFLite file (default: MobileNetV2, 64 px)")
    parser.add_argument("--pairs", type=int, default=20, help="pairs of measurements (default: 20)")
    parser.add_argument("--seconds", type=float, default=1.0, help="time of each measurement's loop (default: 1)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, RigDevice() as rig:
        model = arguments.model or export_mobilenet(Path(folder))
        result = alternate(
            lambda: bench_ms(model, rig.spec, arguments.seconds),
            lambda: bench_ms(model, "host", arguments.seconds),
            arguments.pairs,
            LIMITS,
        )
    report("rig over adb / host", result)


if __name__ == "__main__":
    main()
