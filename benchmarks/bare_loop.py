"""Whether the bench's figure is that of a bare loop over Interpreter.invoke: alternating pairs of processes."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import device_bench
from benchmarks._pairs import alternate, report
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
        result = alternate(
            lambda: bench_ms(model, arguments.seconds),
            lambda: bare_loop_ms(model, arguments.seconds),
            arguments.pairs,
            LIMITS,
        )
    report("bench / bare loop", result)


if __name__ == "__main__":
    main()
