"""What one measurement over adb costs beyond its timed loop, with the model on the device already and without."""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import device_bench
from benchmarks.bare_loop import export_mobilenet
from device_bench.adb import open_link
from device_bench.records import BenchSpec
from tests.rig.device import RigDevice

SPEC = BenchSpec(min_seconds=0.5)
MODEL_MB = 14
LIMIT_CACHED_S = 1.0
LIMIT_PUSH = 1.2


def overhead_s(model: Path, device: str) -> float:
    """Wall time of a whole measurement, connecting included, less its timed loop."""
    start_s = time.perf_counter()
    measured = device_bench.benchmark(model, device, SPEC, power=False)
    wall_s = time.perf_counter() - start_s
    assert measured.fps is not None
    return wall_s - measured.latency_ms.n / measured.fps


def raw_push_s(model: Path, device: str) -> float:
    """The link's own push of the file: nothing verified, nothing renamed."""
    with contextlib.closing(open_link(device)) as link:
        start_s = time.perf_counter()
        link.push(model, "/var/tmp/raw-push", 0o644, 120.0)
        taken_s = time.perf_counter() - start_s
        link.execute("rm /var/tmp/raw-push", 10.0)
    return taken_s


def other_content(model: Path, number: int) -> Path:
    """The same network under another hash: bytes after a flatbuffer's end are not read."""
    copy = model.with_name(f"model-{number}.tflite")
    copy.write_bytes(model.read_bytes() + number.to_bytes(8, "little"))
    return copy


def measure(model: Path, device: str, rounds: int) -> dict[str, Any]:
    overhead_s(model, device)  # brings the runner and the model there
    cached, pushed, raw = [], [], []
    for number in range(rounds):
        cached.append(overhead_s(model, device))
        fresh = other_content(model, number)
        raw.append(raw_push_s(fresh, device))
        pushed.append(overhead_s(fresh, device))
        fresh.unlink()
    limit_s = LIMIT_PUSH * median(raw) + 1.0
    return {
        "rounds": rounds,
        "model_mb": model.stat().st_size / 1e6,
        "cached_s": median(cached),
        "cached_worst_s": max(cached),
        "raw_push_s": median(raw),
        "pushed_s": median(pushed),
        "pushed_worst_s": max(pushed),
        "pushed_limit_s": limit_s,
        "within_limits": median(cached) < LIMIT_CACHED_S and median(pushed) < limit_s,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, RigDevice() as rig:
        model = export_mobilenet(Path(folder))
        padded = model.with_name("padded.tflite")
        padded.write_bytes(model.read_bytes().ljust(MODEL_MB * 10**6, b"\0"))
        result = measure(padded, rig.spec, arguments.rounds)
    print(
        f"overhead of one measurement over adb, {result['model_mb']:.0f} MB model: {result['cached_s']:.2f} s "
        f"(worst {result['cached_worst_s']:.2f} s; limit {LIMIT_CACHED_S:g} s) when it is there already, "
        f"{result['pushed_s']:.2f} s (limit {result['pushed_limit_s']:.2f} s; raw push {result['raw_push_s']:.2f} s) "
        "when it is not"
    )
    print(json.dumps(result))
    if not result["within_limits"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
