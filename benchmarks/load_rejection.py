"""Whether a measurement beside a load is rejected or as good as a quiet one, and how many quiet ones are rejected."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from statistics import median
from typing import TypedDict

import numpy as np

from benchmarks.bare_loop import export_mobilenet
from device_bench import open_device, steadiness
from device_bench.bench import check
from device_bench.device import Device, Job, JobModel
from device_bench.records import BenchSpec

SPECS = {"search": BenchSpec(min_seconds=0.25), "final": BenchSpec(min_seconds=1.0)}
BUSY = "while True: pass"
BURSTS = """
import time
while True:
    end_s = time.monotonic() + 0.2
    while time.monotonic() < end_s: pass
    time.sleep(0.8)
"""
MEMORY = """
import numpy as np
source = np.ones(8_000_000)
target = np.empty_like(source)
while True: np.copyto(target, source)
"""
LOADS = {
    "quiet": [],
    "busy loop": [BUSY],
    "bursts, 0.2 of 1 s": [BURSTS],
    "two busy loops": [BUSY, BUSY],
    "copies of 64 MB": [MEMORY],
}
START_S = 0.5
"""What a load is given to get going, and the machine to calm down after it."""
ROUND = 4
"""Processes of a spec under one load before it is the next one's turn."""
MAX_QUIET_REJECTED, MAX_OFF = 0.05, 0.03


class Process(TypedDict):
    load: str
    spec: str
    median_ms: float
    rejections: list[str]


@contextmanager
def under(programs: list[str]) -> Iterator[None]:
    """These programs run meanwhile."""
    running = [subprocess.Popen([sys.executable, "-c", program]) for program in programs]
    try:
        time.sleep(START_S)
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def measure(device: Device, model: JobModel, load: str, spec: str) -> Process:
    """One process of a spec, with the reasons why its figure must not be believed."""
    result = device.run(Job.of(SPECS[spec], (model,)))
    (run,) = result.models
    throttled = ["throttled"] if result.thermal and result.thermal.throttled else []
    reasons = [*result.rejections, *throttled, *steadiness.rejections(run)]
    return Process(load=load, spec=spec, median_ms=float(np.median(run.blocks[0])), rejections=reasons)


def record(path: Path, n: int) -> Iterator[Process]:
    with open_device("host") as device:
        model = check(device, path, SPECS["final"]).job_model()
        for first in range(0, n, ROUND):
            for load, programs in LOADS.items():
                with under(programs):
                    for spec, _ in product(SPECS, range(min(ROUND, n - first))):
                        yield measure(device, model, load, spec)
            print(f"\r{min(first + ROUND, n)} of {n} processes of each kind", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)


def show(processes: list[Process]) -> list[str]:
    """Print the table; returns what is not as it should be."""
    faults = []
    print("                                      rejected                          believed: off the quiet median")
    print("spec    load                   n      all   busy stolen  drift bimodal     n    p90  worst")
    for spec, load in product(SPECS, LOADS):
        alike = [one for one in processes if one["spec"] == spec]
        quiet_ms = [one["median_ms"] for one in alike if one["load"] == "quiet" and not one["rejections"]]
        if not quiet_ms:
            sys.exit("no quiet process was believed: the machine is too busy to tell anything; end what runs on it")
        here = [one for one in alike if one["load"] == load]
        words = Counter(word for p in here for word in {reason.partition(":")[0] for reason in p["rejections"]})
        off = [abs(one["median_ms"] / median(quiet_ms) - 1) for one in here if not one["rejections"]]
        rejected = 1 - len(off) / len(here)
        shares = "".join(f"{words[word] / len(here):7.0%}" for word in ("busy", "stolen", "drifting", "bimodal"))
        ends = f"{np.quantile(off, 0.9):7.1%}{max(off):7.1%}" if off else "      -      -"
        print(f"{spec:8}{load:20}{len(here):4}{rejected:9.1%}{shares}{len(off):7}{ends}")
        if load == "quiet" and rejected > MAX_QUIET_REJECTED:
            faults.append(
                f"{rejected:.1%} of the quiet ones of a {spec} are rejected (at most {MAX_QUIET_REJECTED:.0%})"
            )
        if max(off, default=0.0) > MAX_OFF:
            faults.append(f"{spec}, {load}: one is off by {max(off):.1%} and not rejected (at most {MAX_OFF:.0%})")
    return faults


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="TFLite file; by default MobileNetV2 at 64 px is exported")
    parser.add_argument("--measurements", type=int, default=40, help="processes of each spec under each load")
    parser.add_argument("--traces", type=Path, help="JSON lines that they are added to; the table is of all in there")
    options = parser.parse_args()
    print(f"load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs")
    with tempfile.TemporaryDirectory() as folder:
        traces = options.traces or Path(folder) / "traces.jsonl"
        with traces.open("a") as file:
            for one in record(options.model or export_mobilenet(Path(folder)), options.measurements):
                print(json.dumps(one), file=file, flush=True)
        faults = show([json.loads(line) for line in traces.read_text().splitlines()])
    if faults:
        sys.exit("\n".join(faults))


if __name__ == "__main__":
    main()
