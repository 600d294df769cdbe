"""The near end of `runners/litert_profiler.py`: times of a file's operations, from a process of their own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from device_bench.answer import SENTINEL
from device_bench.device import Elapsed, Job, Missing
from device_bench.errors import RunnerError
from device_bench.layers import name_layers
from device_bench.records import OpTime, Record
from device_bench.tflite import read_graph

PROFILER = Path(__file__).parent / "runners" / "litert_profiler.py"
MIN_RUNS = 10
MIN_SECONDS = 0.1
TIMEOUT_S = 120.0
MAX_OPERATIONS = 100_000


class Operation(Record):
    type: Annotated[str, Field(max_length=1000)]
    mean_ms: Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


class Profile(Record):
    """The profiler's answer: operations in the order in which they ran, and what an inference took in all."""

    operations: Annotated[tuple[Operation, ...], Field(min_length=1, max_length=MAX_OPERATIONS)]
    invoke_ms: Elapsed
    runs: int


class NoProfile(Record):
    missing: str


def profile_ops(job: Job, run: Callable[[str, float], str], path: str | None = None) -> tuple[OpTime, ...] | Missing:
    """Time of each operation of the job's only model; one that could not be had spoils no measurement.

    Args:
        run: runs the profiler where the model is: takes its stdin and a time-out, gives its stdout.
        path: of the model there; its own by default.

    Raises:
        UsageError: the model file cannot be read.
        TransientDeviceError: the link broke.
    """
    (model,) = job.models
    asked = {
        "path": path or str(model.path),
        "threads": job.threads,
        "affinity": job.affinity,
        "seed": job.seed,
        "min_runs": MIN_RUNS,
        "min_seconds": MIN_SECONDS,
        "timeout_s": TIMEOUT_S,
    }
    try:
        answer = _read(run(json.dumps(asked), TIMEOUT_S))
    except RunnerError as error:
        first = str(error).splitlines()[0]
        return Missing(reason=f"LiteRT's profiler: {first}")
    if isinstance(answer, NoProfile):
        return Missing(reason=answer.missing)
    ops = [
        OpTime(name=f"{op.type}:{i}", type=op.type, mean_ms=op.mean_ms, share=min(1.0, op.mean_ms / answer.invoke_ms))
        for i, op in enumerate(answer.operations)
    ]
    return name_layers(ops, read_graph(model.path))


def _read(stdout: str) -> Profile | NoProfile:
    lines = [line for line in stdout.splitlines() if line.startswith(SENTINEL)]
    if not lines:
        raise RunnerError("it ended without a result")
    try:
        adapter: TypeAdapter[Profile | NoProfile] = TypeAdapter(Profile | NoProfile)
        return adapter.validate_json(lines[-1].removeprefix(SENTINEL))
    except ValidationError as error:
        raise RunnerError("its result cannot be read") from error
