"""What runs Core ML: the near end of `runners/coreml/`, shared by the Mac and the simulators on it."""

from __future__ import annotations

import json
import platform
import tempfile
import time
from abc import abstractmethod
from pathlib import Path
from statistics import median

from device_bench.answer import Answer, read_answer
from device_bench.device import Device, Job, JobResult, Missing, ModelRun
from device_bench.errors import RunnerError, UsageError
from device_bench.load import RUN_S, LoadWindow, SustainedLoad, in_turns
from device_bench.modelfile import check_coreml, fingerprint
from device_bench.records import BenchSpec, Delegate, MemoryUse, RuntimeInfo, ThermalState
from device_bench.trials import Evidence, Trial
from device_bench.xcode import SOURCES, Xcode

RUNNER = "coreml (Swift)"
MEMORY_METHOD = (
    "peak of the physical footprint (task_vm_info) after the timed loop; model_mb: less the footprint before the model "
    "was loaded; what drivers hold for the GPU or the neural engine is not in it"
)


class RunnerOutput(Answer):
    """The Swift runner's answer where everything ran."""

    coreml_version: str | None
    os: str
    translated: bool
    """Rosetta translated the runner, so that its times are not the machine's."""
    baseline_bytes: int | None
    peak_bytes: int | None
    thermal_states: tuple[str, str]
    """ProcessInfo.thermalState before and after the timed loop."""
    plans: tuple[tuple[int, int] | None, ...]
    """(operations planned on the accelerator asked for, all that have a plan) of each model; None: it is not told."""


class CoreMLDevice(Device):
    """A place where Core ML runs: builds the runner, compiles the models, runs a job and reads the answer."""

    delegates: tuple[Delegate, ...] = ()
    formats: tuple[str, ...] = ("coreml",)

    def __init__(self, xcode: Xcode) -> None:
        self._xcode = xcode

    @abstractmethod
    def _runner(self) -> Path:
        """The runner, built for this place."""

    @abstractmethod
    def _launch(self, runner: Path, folder: Path, timeout_s: float) -> tuple[str, str]:
        """Run the runner on `job.json` in the folder to its end: (stdout, stderr)."""

    @abstractmethod
    def _thermal(self, output: RunnerOutput) -> ThermalState | Missing: ...

    def check(self, model_path: Path, spec: BenchSpec) -> None:
        check_coreml(model_path)
        self.check_accelerator(spec)
        if spec.affinity is not None:
            raise UsageError(f"affinity {list(spec.affinity)}: macOS pins no process to a CPU; leave it out")
        if spec.threads != 1:
            raise UsageError(f"threads {spec.threads}: Core ML chooses its threads by itself; leave it at 1")

    def run(self, job: Job) -> JobResult:
        runner = self._runner()
        compiled = [self._xcode.compiled(model.path) for model in job.models]
        with tempfile.TemporaryDirectory(prefix="pocketprune-") as folder:
            (Path(folder) / "job.json").write_text(job_text(job, compiled))
            try:
                stdout, stderr = self._launch(runner, Path(folder), job.timeout_s)
                self.observer.said(RUNNER, f"{stdout}\n{stderr}")
                output = read_answer(RunnerOutput, stdout, stderr, job)
            except RunnerError as error:
                raise RunnerError(f"{', '.join(str(model.path) for model in job.models)}: {error}") from error
        return job_result(output, job, self._thermal(output))

    def sustain(self, job: Job) -> SustainedLoad:
        window_s = job.window_s or job.min_seconds
        short = job.model_copy(update={"min_seconds": window_s, "window_s": None, "timeout_s": window_s + RUN_S})

        def run_window() -> LoadWindow:
            (model,) = self.run(short).models
            end_s = time.monotonic()
            samples = [ms for block in model.blocks for ms in block]
            return LoadWindow(start_s=end_s - model.wall_s, end_s=end_s, n=len(samples), median_ms=median(samples))

        trace = in_turns(run_window, job, "a process of the runner for each window; between them it starts anew")
        return SustainedLoad(trace=trace, heat=Missing(reason="macOS tells no temperatures and clocks to this user"))

    def trials(self) -> tuple[Trial, ...]:
        return (Trial("Xcode builds the runner", self._try_build),)

    def _try_build(self, evidence: Evidence) -> str:
        evidence.keep("xcode.txt", self._xcode.version)
        self._runner()
        return self._xcode.version


def job_text(job: Job, compiled: list[Path]) -> str:
    """The job as the Swift runner reads it: each model with the folder that it was compiled to."""
    told = job.model_dump(mode="json")
    for model, folder in zip(told["models"], compiled, strict=True):
        model["compiled"] = str(folder)
    return json.dumps(told)


def job_result(output: RunnerOutput, job: Job, thermal: ThermalState | Missing) -> JobResult:
    """The runner's answer as what every device gives back."""
    memory = _memory(output)
    missing = {"memory": memory, "thermal": thermal}
    told = len(output.plans) == len(output.models)
    plans = output.plans if told else (None,) * len(output.models)
    parts = list(zip(output.models, job.models, plans, strict=True))
    return JobResult(
        runtime=RuntimeInfo(
            name="coreml",
            # Core ML comes with the system, and has no version of its own where its bundle does not say.
            version=output.coreml_version or f"that of {output.os}",
            runner=RUNNER,
            runner_sha256=fingerprint(SOURCES)[0],
        ),
        models=tuple(_with_reason(run, plan, job.accelerator) for run, _, plan in parts),
        memory=None if isinstance(memory, Missing) else memory,
        thermal=None if isinstance(thermal, Missing) else thermal,
        missing={name: value.reason for name, value in missing.items() if isinstance(value, Missing)},
        rejections=(
            *(["translated by Rosetta: use a Python built for arm64"] if output.translated else []),
            *(
                f"not delegated: Core ML plans none of the {plan[1]} operations of {model.path.name} "
                f"on the {job.accelerator}"
                for _, model, plan in parts
                if plan is not None and plan[0] == 0
            ),
        ),
    )


def target(system: str) -> str:
    """The target triple of this machine's processor for a system, such as arm64-apple-macos14.0."""
    arm = platform.machine() in ("arm64", "aarch64")
    return f"{'arm64' if arm else 'x86_64'}-apple-{system}"


def _with_reason(run: ModelRun, plan: tuple[int, int] | None, accelerator: str) -> ModelRun:
    """A model's run with why its delegate is not known: Core ML says what it plans, and never what ran."""
    if accelerator == "cpu":
        reason = "Core ML on the CPU alone has no delegate"
    elif plan is None:
        reason = "Core ML does not say where this model runs (ML Programs on macOS 14.4 or later: what it plans)"
    else:
        reason = f"Core ML tells its plan, not what ran: {plan[0]} of {plan[1]} operations on the {accelerator}"
    return run.model_copy(update={"missing": {**run.missing, "delegate": reason}})


def _memory(output: RunnerOutput) -> MemoryUse | Missing:
    if len(output.models) > 1:
        return Missing(reason="several models shared one process")
    if output.peak_bytes is None or output.baseline_bytes is None:
        return Missing(reason="the system did not tell the process its footprint")
    return MemoryUse(
        peak_rss_mb=output.peak_bytes / 2**20,
        model_mb=max(0, output.peak_bytes - output.baseline_bytes) / 2**20,
        method=MEMORY_METHOD,
    )
