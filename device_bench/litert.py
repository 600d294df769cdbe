"""The near end of `runners/litert_runner.py`: a job as it reads it, and its output as a JobResult."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

from device_bench.answer import Answer, read_answer
from device_bench.device import Job, JobResult, Missing
from device_bench.probes.memory import memory_use
from device_bench.records import RuntimeInfo, ThermalState

RUNNER = Path(__file__).parent / "runners" / "litert_runner.py"


class RunnerOutput(Answer):
    """The runner's answer where everything ran."""

    litert_version: str
    status_before: str | None
    status_after: str | None


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
