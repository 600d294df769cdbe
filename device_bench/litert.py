"""The near end of `runners/litert_runner.py`: a job as it reads it, and its output as a JobResult."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from device_bench.answer import Answer, read_answer
from device_bench.device import Job, JobResult, Missing
from device_bench.errors import RunnerError
from device_bench.load import LoadTrace, LoadWindow
from device_bench.probes.memory import memory_use
from device_bench.probes.others import CpuTimes, cpu_shares
from device_bench.process import last_lines
from device_bench.records import RuntimeInfo, ThermalState

WINDOW = "POCKETPRUNE-WINDOW "
LOAD_METHOD = "one process of the runner all along, the clock around each inference"
RUNNER = Path(__file__).parent / "runners" / "litert_runner.py"


class RunnerOutput(Answer):
    """The runner's answer where everything ran."""

    litert_version: str
    status_before: str | None
    status_after: str | None
    cpus_before: CpuTimes
    cpus_after: CpuTimes


def job_text(job: Job) -> str:
    """The job as the runner reads it; the models' paths must be those of the machine that it runs on."""
    return job.model_dump_json()


def read_output(stdout: str, stderr: str, job: Job) -> RunnerOutput:
    """The runner's answer from what it printed.

    Raises:
        UsageError: LiteRT refuses a model file.
        RunnerError: there is no answer in the output, or not one that fits the job.
    """
    return read_answer(RunnerOutput, stdout, stderr, job)


def job_result(output: RunnerOutput, thermal: ThermalState | Missing, runner: Path = RUNNER) -> JobResult:
    """A runner's answer with what the device's probes saw meanwhile."""
    memory = memory_use(output.status_before, output.status_after)
    start_s, end_s = output.loop_s
    shares = cpu_shares(output.cpus_before, output.cpus_after, end_s - start_s)
    unseen = {"cpu_shares": shares.reason} if isinstance(shares, Missing) else {}
    if len(output.models) > 1:
        memory = Missing(reason="several models shared one process")
    missing = {"memory": memory, "thermal": thermal}
    return JobResult(
        runtime=RuntimeInfo(
            name="litert", version=output.litert_version, runner=runner.name, runner_sha256=_sha256(runner)
        ),
        models=tuple(model.model_copy(update={"missing": {**model.missing, **unseen}}) for model in output.models),
        memory=None if isinstance(memory, Missing) else memory,
        thermal=None if isinstance(thermal, Missing) else thermal,
        missing={name: value.reason for name, value in missing.items() if isinstance(value, Missing)},
        cpu_shares=None if isinstance(shares, Missing) else shares,
    )


def read_load(wait: Callable[[], tuple[str, str]], stop: Callable[[], str]) -> LoadTrace:
    """The windows of a sustained load that the runner was started with.

    Args:
        wait: waits for the runner's end and returns its (stdout, stderr).
        stop: ends it early, on Ctrl-C, and returns its stdout until then.

    Raises:
        RunnerError: it ended without a window, or printed garbage; or what `wait` raises.
    """
    interrupted, stderr = False, ""
    try:
        stdout, stderr = wait()
    except KeyboardInterrupt:
        interrupted, stdout = True, stop()
    lines = [line for line in stdout.splitlines(keepends=True) if line.startswith(WINDOW) and line.endswith("\n")]
    if not lines and not interrupted:
        raise RunnerError(f"the runner ended without a window of load{last_lines(stdout, stderr)}")
    try:
        windows = tuple(LoadWindow.model_validate_json(line.removeprefix(WINDOW)) for line in lines)
    except ValidationError as error:
        raise RunnerError(f"a window of the runner's load cannot be read{last_lines(stdout, stderr)}") from error
    return LoadTrace(windows=windows, interrupted=interrupted, method=LOAD_METHOD)


@functools.cache
def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
