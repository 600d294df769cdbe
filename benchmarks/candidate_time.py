"""Where the time of one candidate of a search goes, from plan to measured latency: MobileNetV2 at 64 px on the host."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn

import device_bench
import models
from device_bench.device import Job, JobModel
from device_bench.litert import RUNNER, job_text, read_output
from device_bench.process import run_process
from device_bench.records import BenchSpec
from pipeline.config import PruningSection
from pipeline.export import TfliteConverter
from pipeline.export.candidates import CandidateExporter
from pipeline.pruning.channels import make_plan, rebuild
from pipeline.pruning.groups import find_groups, keep_values, prunable
from pipeline.pruning.importance import group_scores
from pipeline.records import Architecture
from pipeline.search.meter import LatencyMeter
from pipeline.search_section import SearchBenchSection

SHAPE = (3, 64, 64)
SETTINGS = PruningSection()
GOAL_MS = 1000.0
SPEC = BenchSpec(min_seconds=0.25)
Parts = dict[str, list[float]]
KeepCounts = Mapping[str, int]
Export = Callable[[KeepCounts, Path], Path]

TO_FILE = "plan to file"
AROUND = "all of `benchmark` beyond its loop"
TOTAL = "plan to latency beyond the loop"


def now_ms() -> float:
    return time.monotonic() * 1000  # the clock that the runner tells its loop's start and end by


class Ways:
    """The two ways from a plan to a file."""

    def __init__(self, converter: TfliteConverter) -> None:
        self._converter = converter
        self.network: nn.Module = models.load("mobilenet_v2", num_classes=10, seed=0).eval()
        self.groups = prunable(find_groups(self.network, SHAPE, SETTINGS))
        self.scores = group_scores(self.network, self.groups, "l1")
        self._cut = CandidateExporter(converter, self.network, self.groups, self.scores, SHAPE)

    def by_way(self) -> dict[str, Export]:
        if self._cut.in_full_because:
            raise SystemExit(f"candidates are exported in full: {self._cut.in_full_because}")
        return {"cut": self._cut.export, "in full": self._in_full}

    def meter(self, folder: Path) -> LatencyMeter:
        """What a search measures with."""
        return LatencyMeter(
            network=self.network,
            groups=self.groups,
            scores=self.scores,
            input_shape=SHAPE,
            device_spec="host",
            spec=SearchBenchSection().spec(),
            reward_from=("host",),
            log=folder / "plans.jsonl",
            folder=folder,
            workspace=folder,
            converter=self._converter,
        )

    def random_plan(self, rng: np.random.Generator) -> dict[str, int]:
        return {group.name: int(rng.choice(keep_values(group.channels, SETTINGS))) for group in self.groups}

    def _in_full(self, keep_counts: KeepCounts, path: Path) -> Path:
        architecture = Architecture(name="candidate", num_classes=10, image_size=SHAPE[1])
        plan = make_plan(architecture, self.groups, keep_counts, self.scores, {})
        return self._converter.convert(rebuild(self.network, self.groups, plan), SHAPE, path)


def runner_parts(path: Path) -> dict[str, float]:
    """One process of the runner, as the host starts it, part by part, in ms."""
    job = Job.of(SPEC, (JobModel(path=path, golden=None),))
    begun = now_ms()
    stdout, stderr = run_process([sys.executable, "-P", str(RUNNER), "-"], job_text(job), job.timeout_s)
    output = read_output(stdout, stderr, job)
    done = now_ms()
    (model,) = output.models
    loop_start, loop_end = (1000 * instant for instant in output.loop_s)
    assert model.init_ms is not None and model.first_ms is not None
    warm_up = model.first_ms + SPEC.warmup_runs * float(np.median(model.blocks[0]))
    return {
        "process start": loop_start - begun - model.init_ms - warm_up,
        "load": model.init_ms,
        "first run and warm-up": warm_up,
        "(timed loop)": loop_end - loop_start,
        "reading back": done - loop_end,
    }


def time_one(export: Export, plan: KeepCounts, folder: Path) -> dict[str, float]:
    begun = now_ms()
    path = export(plan, folder / "candidate.tflite")
    to_file = now_ms() - begun
    parts = runner_parts(path)
    begun = now_ms()
    measured = device_bench.benchmark(path, spec=SPEC, power=False)
    assert measured.latency_ms is not None and measured.fps is not None
    around = now_ms() - begun - 1000 * measured.latency_ms.n / measured.fps
    return {TO_FILE: to_file, **parts, AROUND: around, TOTAL: to_file + around}


def in_a_search(meter: LatencyMeter, plan: KeepCounts) -> tuple[float, int]:
    """Beyond the timed loops, in ms, where a search measures: beside two copies of dense, in several processes."""
    begun = now_ms()
    dense, candidate = meter.sit([plan], meter.spec).measurements
    took = now_ms() - begun
    loops_s = [one.latency_ms.n / one.fps for one in (dense, dense, candidate) if one.fps is not None]
    return took - 1000 * sum(loops_s), len(candidate.latency_ms.processes)


def show(ways: Mapping[str, Parts]) -> None:
    print(f"{'median (worst) of each, ms':<36}" + "".join(f"{way:>20}" for way in ways))
    for part in next(iter(ways.values())):
        cells = [f"{np.median(parts[part]):.1f} ({max(parts[part]):.1f})" for parts in ways.values()]
        print(f"{part:<36}" + "".join(f"{cell:>20}" for cell in cells))


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plans", type=int, default=20, help="random plans (default: 20)")
    plans = parser.parse_args(argv).plans
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    found: dict[str, Parts] = {}
    searched: list[tuple[float, int]] = []
    with tempfile.TemporaryDirectory() as folder, TfliteConverter() as converter:
        ways = Ways(converter)
        meter = ways.meter(Path(folder))
        meter.sit([ways.random_plan(rng)], meter.spec)  # what is made once: the dense file, and the trial of the cut
        for plan in [ways.random_plan(rng) for _ in range(plans)]:
            for way, export in ways.by_way().items():
                for part, ms in time_one(export, plan, Path(folder)).items():
                    found.setdefault(way, {}).setdefault(part, []).append(ms)
            searched.append(in_a_search(meter, plan))
    show(found)
    beyond_ms = [ms for ms, _ in searched]
    print(
        f"as a search measures it, beside dense in {min(n for _, n in searched)} to {max(n for _, n in searched)} "
        f"processes: {np.median(beyond_ms):.0f} ms beyond the loops (worst {max(beyond_ms):.0f} ms)"
    )
    worst = max(found["cut"][TOTAL])
    print(f"worst of {plans} plans {worst:.0f} ms beyond the timed loop (goal: at most {GOAL_MS:.0f} ms)")
    return 0 if worst <= GOAL_MS else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
