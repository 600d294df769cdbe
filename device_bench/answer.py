"""What a runner of ours prints last, whatever language it is written in: the sentinel, then one JSON object."""

from __future__ import annotations

import json
from typing import Annotated, Self

from pydantic import Field, ValidationError, model_validator

from device_bench.device import Job, ModelRun
from device_bench.errors import RunnerError, UsageError
from device_bench.process import last_lines
from device_bench.records import Record

SENTINEL = "POCKETPRUNE-RESULT "

Instant = Annotated[float, Field(allow_inf_nan=False)]


class Refusal(Record):
    path: str
    message: str


class Refused(Record):
    """The runner's answer where the runtime does not take a file."""

    refused: Refusal


class Answer(Record):
    """The runner's answer where everything ran; each runner adds what its runtime and system tell."""

    loop_s: tuple[Instant, Instant]
    """Start and end of the timed loop on the device's monotonic clock."""
    models: tuple[ModelRun, ...]

    @model_validator(mode="after")
    def _loop_takes_time(self) -> Self:
        start_s, end_s = self.loop_s
        if not end_s > start_s:
            raise ValueError(f"a timed loop from {start_s} to {end_s} s takes no time")
        return self


def read_answer[AnswerT: Answer](kind: type[AnswerT], stdout: str, stderr: str, job: Job) -> AnswerT:
    """The runner's answer from what it printed.

    Raises:
        UsageError: the runtime refuses a model file.
        RunnerError: there is no answer in the output, or not one that fits the job.
    """
    lines = [line for line in stdout.splitlines() if line.startswith(SENTINEL)]
    if not lines:
        raise RunnerError(f"the runner ended without a result{last_lines(stdout, stderr)}")
    try:
        told = json.loads(lines[-1].removeprefix(SENTINEL))
        refused = isinstance(told, dict) and "refused" in told
        form: type[AnswerT] | type[Refused] = Refused if refused else kind
        answer = form.model_validate(told)
    except (ValidationError, ValueError, RecursionError) as error:
        first = (str(error) or type(error).__name__).splitlines()[0]
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
