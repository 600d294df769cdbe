"""The near end of `runners/litert_runner.py`: a job as it reads it, and its output as a JobResult."""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from device_bench.device import Job, JobResult, Missing, ModelRun
from device_bench.errors import RunnerError, UsageError
from device_bench.probes.memory import memory_use
from device_bench.process import last_lines
from device_bench.records import Record, RuntimeInfo, ThermalState

RUNNER = Path(__file__).parent / "runners" / "litert_runner.py"
SENTINEL = "POCKETPRUNE-RESULT "


class Refusal(Record):
    path: str
    message: str


class Refused(Record):
    """The runner's answer where LiteRT does not take a file."""

    refused: Refusal


class RunnerOutput(Record):
    """The runner's answer where everything ran."""

    litert_version: str
    status_before: str | None
    status_after: str | None
    loop_s: tuple[float, float]
    """Start and end of the timed loop on the device's monotonic clock."""
    models: tuple[ModelRun, ...]


_ANSWER: TypeAdapter[RunnerOutput | Refused] = TypeAdapter(RunnerOutput | Refused)


def job_text(job: Job) -> str:
    """The job as the runner reads it; the models' paths must be those of the machine that it runs on."""
    return job.model_dump_json()


def read_output(stdout: str, stderr: str, job: Job) -> RunnerOutput:
    """The runner's answer from what it printed.

    Raises:
        UsageError: LiteRT refuses a model file.
        RunnerError: there is no answer in the output, or not one that fits the job.
    """
    lines = [line for line in stdout.splitlines() if line.startswith(SENTINEL)]
    if not lines:
        raise RunnerError(f"the runner ended without a result{last_lines(stdout, stderr)}")
    try:
        answer = _ANSWER.validate_python(json.loads(lines[-1].removeprefix(SENTINEL)))
    except (ValidationError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise RunnerError(f"the runner's result cannot be read ({first}){last_lines(stdout, stderr)}") from error
    if isinstance(answer, Refused):
        raise UsageError(f"{answer.refused.path}: {answer.refused.message}; export the model again")
    for model in answer.models:
        n_samples = sum(map(len, model.blocks))
        if n_samples < job.timed_runs or not all(model.blocks):
            raise RunnerError(f"the runner gave {n_samples} samples of a model, fewer than {job.timed_runs}")
    if len(answer.models) != len(job.models):
        raise RunnerError(f"the runner answered for {len(answer.models)} models of {len(job.models)}")
    return answer


def job_result(output: RunnerOutput, thermal: ThermalState | Missing, runner: Path = RUNNER) -> JobResult:
    """A runner's answer with what the device's probes saw meanwhile."""
    memory = memory_use(output.status_before, output.status_after)
    if len(output.models) > 1:
        memory = Missing(reason="several models shared one process")
    missing = {"memory": memory, "thermal": thermal}
    return JobResult(
        runtime=RuntimeInfo(
            name="litert", version=output.litert_version, runner=runner.name, runner_sha256=_sha256(runner)
        ),
        models=output.models,
        memory=None if isinstance(memory, Missing) else memory,
        thermal=None if isinstance(thermal, Missing) else thermal,
        missing={name: value.reason for name, value in missing.items() if isinstance(value, Missing)},
    )


@functools.cache
def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
