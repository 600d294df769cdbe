"""Whether the bench's figure is that of a bare loop over Interpreter.invoke: alternating pairs of processes."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import device_bench
from device_bench import stats
from device_bench.records import BenchSpec

LIMITS = (0.98, 1.02)

# What somebody would write who has never heard of this package; it shares no line with the runner.
BARE_LOOP = """
import sys, time
import numpy as np
from ai_edge_litert.interpreter import Interpreter

interpreter = Interpreter(model_path=sys.argv[1], num_threads=1)
interpreter.allocate_tensors()
detail = interpreter.get_input_details()[0]
image = np.random.default_rng(1).standard_normal(detail["shape"]).astype(detail["dtype"])
interpreter.set_tensor(detail["index"], image)
for _ in range(10):
    interpreter.invoke()
times = []
end = time.perf_counter() + float(sys.argv[2])
while time.perf_counter() < end:
    start = time.perf_counter()
    interpreter.invoke()
    times.append(time.perf_counter() - start)
print(np.median(times) * 1000)
"""


def bare_loop_ms(model: Path, seconds: float) -> float:
    argv = [sys.executable, "-c", BARE_LOOP, str(model), str(seconds)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120 + 10 * seconds, check=True)
    return float(done.stdout)


def bench_ms(model: Path, seconds: float) -> float:
    measured = device_bench.benchmark(model, spec=BenchSpec(min_seconds=seconds), power=False)
    return measured.median_ms


def export_mobilenet(folder: Path) -> Path:
    """MobileNetV2 at 64 px with ten classes, the demo's network, with random weights."""
    import models
    from pipeline.export.quick import TfliteConverter

    with TfliteConverter() as converter:
        return converter.convert(models.load("mobilenet_v2", num_classes=10), (3, 64, 64), folder / "model.tflite")


def compare(model: Path, pairs: int, seconds: float) -> dict[str, Any]:
    bench, bare = [], []
    for pair in range(pairs):
        if pair % 2:  # alternate, so that a machine that warms up or slows down favours neither
            bare.append(bare_loop_ms(model, seconds))
            bench.append(bench_ms(model, seconds))
        else:
            bench.append(bench_ms(model, seconds))
            bare.append(bare_loop_ms(model, seconds))
    ratios = [ours / theirs for ours, theirs in zip(bench, bare, strict=True)]
    low, high = stats.median_ci([ratios])
    return {
        "pairs": pairs,
        "seconds": seconds,
        "bench_ms": median(bench),
        "bare_loop_ms": median(bare),
        "ratio": median(ratios),
        "ci95": [low, high],
        "within_limits": LIMITS[0] <= low and high <= LIMITS[1],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "model", nargs="?", type=Path, help="a TFLite file with one input (default: MobileNetV2, 64 px)"
    )
    parser.add_argument("--pairs", type=int, default=20, help="pairs of processes (default: 20)")
    parser.add_argument("--seconds", type=float, default=1.0, help="time of each process's loop (default: 1)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = arguments.model or export_mobilenet(Path(folder))
        result = compare(model, arguments.pairs, arguments.seconds)
    low, high = result["ci95"]
    print(
        f"bench / bare loop = {result['ratio']:.4f} (95%: {low:.4f} to {high:.4f}, {result['pairs']} pairs); "
        f"the interval lies {'within' if result['within_limits'] else 'NOT within'} {LIMITS[0]} to {LIMITS[1]}"
    )
    print(json.dumps(result))


if __name__ == "__main__":
    main()
