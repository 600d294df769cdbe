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

import device_bench
from device_bench.devices.host import HostDevice
from pipeline.config import BenchSection
from pipeline.search_section import SearchBenchSection

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
"""Measurements of a kind under one load before it is the next one's turn."""
MAX_QUIET_REJECTED, MAX_OFF = 0.05, 0.03
MAX_PROCESSES = 6
"""Of a measurement here; the defaults would only reject later what is rejected all the same."""
KINDS = ("search", "final")


class Outcome(TypedDict):
    load: str
    kind: str
    value: float
    """search: latency over the dense network's; final: the median in ms."""
    rejections: list[str]
    repeated: list[str]
    """Why processes were repeated."""


def export(folder: Path) -> list[Path]:
    """MobileNetV2 at 64 px, as the demo has it, and one of half the width: what a search compares."""
    import models
    from pipeline.export.quick import TfliteConverter

    with TfliteConverter() as converter:
        return [
            converter.convert(
                models.load("mobilenet_v2", num_classes=10, options={"width": width}),
                (3, 64, 64),
                folder / f"{width}.tflite",
            )
            for width in (1.0, 0.5)
        ]


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


def measure(files: list[Path], load: str, kind: str) -> Outcome:
    """One measurement as a search makes it (a ratio to the dense network), or as a final one (a median)."""
    if kind == "search":
        result = device_bench.compare(files, spec=SearchBenchSection(max_processes=MAX_PROCESSES).spec())
        measured, value = result.measurements[1], result.comparisons[0].ratio
        bad = [reason for one in result.measurements if not one.believed for reason in one.rejections]
    else:
        spec = BenchSection(max_processes=MAX_PROCESSES, precision=None).spec()
        measured = device_bench.benchmark(files[1], spec=spec, power=False)
        value, bad = measured.median_ms, list(measured.rejections)
    repeated = [reason for one in measured.rejected for reason in one.reasons]
    return Outcome(load=load, kind=kind, value=value, rejections=bad, repeated=repeated)


def record(files: list[Path], n: int, n_loaded: int) -> Iterator[Outcome]:
    """`n` quiet measurements of each kind and `n_loaded` under each load, in turns."""
    for first in range(0, n, ROUND):
        for load, programs in LOADS.items():
            last = n_loaded if programs else n
            with under(programs):
                for kind, _ in product(KINDS, range(first, min(first + ROUND, last))):
                    yield measure(files, load, kind)
        print(f"\r{min(first + ROUND, n)} of {n} quiet measurements of each kind", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)


def show(outcomes: list[Outcome]) -> list[str]:
    """Print the table; returns what is not as it should be."""
    faults = []
    print("                                             processes    believed: off the quiet median")
    print("kind    load                   n  rejected    repeated       n    p90  worst")
    for kind, load in product(KINDS, LOADS):
        alike = [one for one in outcomes if one["kind"] == kind]
        quiet = [one["value"] for one in alike if one["load"] == "quiet" and not one["rejections"]]
        if not quiet:
            sys.exit("no quiet measurement was believed: the machine is too busy to tell anything; end what runs on it")
        here = [one for one in alike if one["load"] == load]
        off = [abs(one["value"] / median(quiet) - 1) for one in here if not one["rejections"]]
        rejected = 1 - len(off) / len(here)
        repeats = sum(len(one["repeated"]) for one in here) / len(here)
        ends = f"{np.quantile(off, 0.9):7.1%}{max(off):7.1%}" if off else "      -      -"
        print(f"{kind:8}{load:20}{len(here):4}{rejected:10.1%}{repeats:12.1f}{len(off):8}{ends}")
        if load == "quiet" and rejected > MAX_QUIET_REJECTED:
            faults.append(f"{rejected:.1%} of the quiet {kind} ones are rejected (at most {MAX_QUIET_REJECTED:.0%})")
        if max(off, default=0.0) > MAX_OFF:
            faults.append(f"{kind}, {load}: one is off by {max(off):.1%} and not rejected (at most {MAX_OFF:.0%})")
    words = Counter(reason.partition(":")[0] for one in outcomes for reason in one["repeated"])
    print("why processes were repeated: " + ", ".join(f"{word} {count}" for word, count in words.most_common()))
    return faults


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measurements", type=int, default=24, help="quiet ones of each kind")
    parser.add_argument("--loaded", type=int, default=4, help="of each kind under each load")
    parser.add_argument("--traces", type=Path, help="JSON lines that they are added to; the table is of all in there")
    options = parser.parse_args()
    HostDevice.pause_s = 0.0  # the loads go on as long as they are measured: waiting for their end takes time alone
    print(f"load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs")
    with tempfile.TemporaryDirectory() as folder:
        traces = options.traces or Path(folder) / "traces.jsonl"
        with traces.open("a") as file:
            for one in record(export(Path(folder)), options.measurements, options.loaded):
                print(json.dumps(one), file=file, flush=True)
        faults = show([json.loads(line) for line in traces.read_text().splitlines()])
    if faults:
        sys.exit("\n".join(faults))


if __name__ == "__main__":
    main()
