"""Drives `benchmark_model`, the official TFLite and LiteRT tool, on a device: a job in, its figures out.

The tool keeps its samples to itself and gives aggregates of a run, so a turn here is one run of the tool, a process of
its own, and its value is that run's median. A tool that prints no median is run for one inference at a time instead:
those are samples. What it says of operations, memory and outputs comes from runs beside the timed ones.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from math import ceil
from statistics import median
from typing import Any

from device_bench.device import Job, JobResult, Missing, ModelRun, RunAggregate
from device_bench.errors import RunnerError
from device_bench.load import RUN_S, LoadTrace, LoadWindow, in_turns
from device_bench.probes.battery import LoadRun
from device_bench.records import OpTime, RuntimeInfo
from device_bench.runners import benchmark_extras
from device_bench.runners.benchmark_delegate import Delegation, check_flag, delegation, explicit, wanted_delegate
from device_bench.runners.benchmark_log import ToolRun
from device_bench.runners.benchmark_result import parse_result
from device_bench.runners.benchmark_tool import Placed, Tool, read_run, timed_part

MIN_ROUNDS = 10
"""Of turns, when several models are timed: a ratio's interval needs some."""
MAX_SINGLES = 30
"""Runs of one inference each, where the tool prints no median: each of them loads the model anew."""

SEVERAL = Missing(reason="several models were compared; measure them one by one for their memory")
NO_SAMPLES = "benchmark_model keeps its samples to itself and gives aggregates of each run"
SINGLES = (
    "this benchmark_model prints no median: {n} samples from as many runs of one inference, {asked} were asked for"
)


class BenchmarkModel:
    """The tool on one device.

    Args:
        tool: how it is run there, as a binary or as an app.
    """

    def __init__(self, tool: Tool) -> None:
        self._tool = tool
        self._gives_median = True
        """Until it shows that it does not."""
        self._known: dict[tuple[str, str], Any] = {}

    def run(self, job: Job, folder: str, around: AbstractContextManager[object] | None = None) -> JobResult:
        """Time a job's models, and see what they compute, where their time goes and what memory they take.

        The result's `thermal` is None: whoever watches the device fills it in.

        Args:
            folder: one on the device for this job alone; the caller removes it.
            around: entered and left directly around the timed runs.

        Raises:
            UsageError: the tool refuses a model file, or cannot do what was asked.
            DeviceUnavailableError: the device lacks the delegate.
            TransientDeviceError: the link broke.
            RunnerError: the tool died, hung or printed garbage.
        """
        wanted = wanted_delegate(job.accelerator, job.delegate)
        self._tool.check_affinity(job)
        placed = [self._tool.place(model) for model in job.models]
        with around or nullcontext():
            turns = self._time(job, placed, folder)
        models, rejections = [], []
        for model, runs in zip(placed, turns, strict=True):
            found = delegation(runs[0], wanted, explicit(job), model.graph.operations)
            golden_error = self._once(benchmark_extras.golden_error, job, model, folder)
            ops = self._once(benchmark_extras.profile, job, model, folder)
            models.append(self._model_run(job, runs, found, golden_error, ops))
            rejections += [found.rejection] if found.rejection else []
        memory = SEVERAL if len(placed) > 1 else self._once(benchmark_extras.memory, job, placed[0], folder)
        missing = {"memory": memory.reason} if isinstance(memory, Missing) else {}
        return JobResult(
            runtime=self.runtime(),
            models=tuple(models),
            memory=None if isinstance(memory, Missing) else memory,
            thermal=None,
            missing={**missing, "thermal": "not watched"},
            rejections=tuple(dict.fromkeys(rejections)),
        )

    def load(self, job: Job, folder: str, seconds: float) -> LoadRun:
        """Keep the device busy with the job's only model for some seconds of inferences, for a power meter."""
        return benchmark_extras.load(self._tool, job, self._tool.place(job.models[0]), folder, seconds)

    def sustain(self, job: Job, folder: str) -> LoadTrace:
        """Keep the device busy as `Device.sustain` says; a window is a run of the tool, which loads the model anew."""
        one = job.model_copy(update={"warmup_runs": 1, "timeout_s": RUN_S})

        def run_window() -> LoadWindow:
            run = self.load(one, folder, job.window_s or job.min_seconds)
            return LoadWindow(start_s=run.start_s, end_s=run.end_s, n=run.inferences, median_ms=run.median_ms)

        return in_turns(run_window, job, f"a run of {self._tool.runner} for each window; between them it starts anew")

    def ops(self, job: Job, folder: str) -> tuple[OpTime, ...] | Missing:
        """Time of each operation of the job's only model; `run` has looked already."""
        return self._once(benchmark_extras.profile, job, self._tool.place(job.models[0]), folder)

    def runtime(self) -> RuntimeInfo:
        runner, sha256 = self._tool.runner, self._tool.sha256
        return RuntimeInfo(name="litert", version=f"{runner} {sha256[:8]}", runner=runner, runner_sha256=sha256)

    def _time(self, job: Job, placed: list[Placed], folder: str) -> list[list[ToolRun]]:
        """The timed runs of each model; run i of all models was taken in one round."""
        rounds = 1 if len(placed) == 1 else MIN_ROUNDS
        if self._gives_median:
            runs, seconds = ceil(job.timed_runs / rounds), job.min_seconds / rounds
            turns = _turns(lambda model: self._timed_run(job, model, folder, runs, seconds), placed, rounds, job.seed)
            if turns is not None:
                return turns
            self._gives_median = False
        samples = max(min(job.timed_runs, MAX_SINGLES), rounds)
        turns = _turns(lambda model: self._timed_run(job, model, folder, 1, 0.0), placed, samples, job.seed)
        if turns is None:
            raise RunnerError("benchmark_model printed one inference as several: its log cannot be read")
        return turns

    def _timed_run(self, job: Job, model: Placed, folder: str, runs: int, seconds: float) -> ToolRun:
        result = None if self._tool.no_files else self._tool.fresh(folder, "result.pb")
        argv = self._tool.argv(job, model, runs, seconds, job.warmup_runs)
        argv += [f"--result_file_path={result}"] if result else []
        finished = self._tool.execute(argv, folder, job, model)
        run = read_run(finished)
        check_flag(run, wanted_delegate(job.accelerator, job.delegate))
        no_median = run.timed is None or run.timed.median is None
        if result and no_median and "--result_file_path" not in run.unknown_flags:
            run = self._with_result_file(run, result)
        timed = timed_part(run, finished, model)
        if timed.n < runs:
            path, limit_s = model.model.path, job.timeout_s
            raise RunnerError(f"{path}: benchmark_model made {timed.n} inferences of {runs} in {limit_s:g} s")
        return run

    def _with_result_file(self, run: ToolRun, path: str) -> ToolRun:
        """The run with what its result file knows better; old tools leave none."""
        if self._tool.remote.run(["test", "-s", path]).exit_code != 0:
            return run
        told = parse_result(self._tool.remote.pull(path))
        better = {name: getattr(told, name) for name in ("timed", "init_ms", "first_ms") if getattr(told, name)}
        return run.model_copy(update=better)

    def _once[T](self, find: Callable[[Tool, Job, Placed, str], T], job: Job, model: Placed, folder: str) -> T:
        """Found once for each model and way to run it: it is the same in every process of a measurement."""
        way = f"{model.there} {job.accelerator} {job.delegate} {job.threads} {job.affinity} {model.model.golden}"
        known = (find.__name__, way)
        if known not in self._known:
            self._known[known] = find(self._tool, job, model, folder)
        found: T = self._known[known]
        return found

    def _model_run(
        self,
        job: Job,
        runs: Sequence[ToolRun],
        found: Delegation,
        golden_error: float | Missing | None,
        ops: tuple[OpTime, ...] | Missing,
    ) -> ModelRun:
        init_ms = [run.init_ms for run in runs if run.init_ms is not None]
        first_ms = [run.first_ms for run in runs if run.first_ms is not None]
        if not init_ms or not first_ms:
            raise RunnerError("benchmark_model did not say how long it took to load the model and to run it first")
        timed = tuple(run.timed for run in runs if run.timed is not None)
        missing = {"delegate": found.missing} if found.missing else {}
        if self._gives_median:
            missing["latency_ms.samples"] = NO_SAMPLES
        else:
            missing["latency_ms.n"] = SINGLES.format(n=len(timed), asked=job.timed_runs)
        for name, value in (("golden_error", golden_error), ("ops", ops)):
            if isinstance(value, Missing):
                missing[name] = value.reason
        return ModelRun(
            init_ms=median(init_ms),
            first_ms=median(first_ms),
            blocks=_blocks(timed, one_by_one=self._gives_median or len(job.models) > 1),
            aggregates=timed if self._gives_median else None,
            # The tool gives no wall time; between its inferences it only copies the inputs.
            wall_s=sum(run.n * run.mean for run in timed) / 1e3,
            golden_error=None if isinstance(golden_error, Missing) else golden_error,
            delegate=found.use,
            ops=None if isinstance(ops, Missing) else ops,
            missing=missing,
        )


def _turns(
    timed_run: Callable[[Placed], ToolRun], models: Sequence[Placed], rounds: int, seed: int
) -> list[list[ToolRun]] | None:
    """Each model once a round, each odd round in the reverse of the random order before it; None without a median."""
    shuffle = random.Random(seed).shuffle
    order = list(range(len(models)))
    turns: list[list[ToolRun]] = [[] for _ in models]
    for number in range(rounds):
        if number % 2:
            order.reverse()
        else:
            shuffle(order)
        for i in order:
            run = timed_run(models[i])
            if run.timed is None or run.timed.median is None:
                return None
            turns[i].append(run)
    return turns


def _blocks(runs: Sequence[RunAggregate], one_by_one: bool) -> tuple[tuple[float, ...], ...]:
    """A turn for each run of the tool, or one turn of all samples; a single inference is its own median."""
    medians = tuple(run.median for run in runs if run.median is not None)
    return tuple((value,) for value in medians) if one_by_one else (medians,)
