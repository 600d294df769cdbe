"""Whether `compare` tells a file from itself, and finds a true 3%: in real comparisons, and in simulated ones."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.bare_loop import export_mobilenet
from device_bench import stats
from device_bench.bench import check
from device_bench.device import Job
from device_bench.devices import open_device
from device_bench.records import BenchSpec

PROCESSES = 3
"""Of one comparison: the command's default."""
SIMULATED = 1000
MAX_CALLED, MIN_FOUND = 0.05, 0.90

Process = list[NDArray[np.float64]]
"""What one process measured: for each of three copies, the median latency (ms) of each round."""


def record(model: Path, processes: int, device: str) -> list[Process]:
    """Processes that time three copies of a file in turns, as `compare` does with a file and itself."""
    spec = BenchSpec()
    recorded = []
    with open_device(device) as opened:
        copy = check(opened, model, spec).job_model()
        for seed in range(processes):
            result = opened.run(Job.of(spec, (copy,) * 3, seed))
            recorded.append([np.array([np.median(block) for block in one.blocks]) for one in result.models])
            print(f"\r{seed + 1} of {processes} processes", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return recorded


def verdict(processes: Sequence[Process], ratio: float = 1.0) -> str:
    """As of baseline, candidate and the baseline's copy, in this order; `ratio` is put on the candidate."""
    candidate = [(ratio * theirs / ours).tolist() for ours, theirs, _ in processes]
    again = [(copy / ours).tolist() for ours, _, copy in processes]
    floor = abs(stats.overall_ratio(again) - 1)
    return stats.verdict(stats.ratio_ci(candidate, again), floor)


def simulate(recorded: Sequence[Process], processes: int, ratio: float) -> float:
    """Share of differences called among comparisons whose processes, and each one's roles, are drawn at random."""
    rng = np.random.default_rng(0)
    called = 0
    for _ in range(SIMULATED):
        drawn = [recorded[i] for i in rng.integers(0, len(recorded), processes)]
        called += verdict([[one[role] for role in rng.permutation(3)] for one in drawn], ratio) != "inconclusive"
    return called / SIMULATED


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="TFLite file; by default MobileNetV2 at 64 px is exported")
    parser.add_argument("--device", default="host", help="device spec")
    parser.add_argument("--comparisons", type=int, default=40, help="real ones, of three processes each")
    parser.add_argument("--traces", type=Path, help="read what was recorded from this JSON file, or write it there")
    options = parser.parse_args()
    if options.traces and options.traces.exists():
        recorded = [[np.array(copy) for copy in process] for process in json.loads(options.traces.read_text())]
    else:
        with tempfile.TemporaryDirectory() as folder:
            model = options.model or export_mobilenet(Path(folder))
            recorded = record(model, PROCESSES * options.comparisons, options.device)
        if options.traces:
            options.traces.write_text(json.dumps([[copy.round(5).tolist() for copy in one] for one in recorded]))
    spread = np.std([np.log(np.median(theirs / ours)) for ours, theirs, _ in recorded])
    print(f"{len(recorded)} processes; ratios of two copies differ between them by {spread:.2%} (standard deviation)")
    print(f"load of the machine now: {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs")
    triples = [recorded[i : i + PROCESSES] for i in range(0, len(recorded), PROCESSES)]
    real = float(np.mean([verdict(triple) != "inconclusive" for triple in triples]))
    print(f"a file and itself, {len(triples)} real comparisons: {real:.1%} called different (at most {MAX_CALLED:.0%})")
    print(f"\nsimulated, {SIMULATED} comparisons each    called different")
    print("processes   same file   3% slower   3% faster")
    shares = {}
    for processes in (1, 2, PROCESSES, 5):
        shares[processes] = [simulate(recorded, processes, ratio) for ratio in (1.0, 1.03, 0.97)]
        print(f"{processes:9}" + "".join(f"{share:12.1%}" for share in shares[processes]))
    same, *found = shares[PROCESSES]
    if max(real, same) > MAX_CALLED or min(found) < MIN_FOUND:
        sys.exit(
            f"too often wrong: at most {MAX_CALLED:.0%} of the same, at least {MIN_FOUND:.0%} of 3% are to be called"
        )


if __name__ == "__main__":
    main()
