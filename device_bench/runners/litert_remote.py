"""Runs `litert_runner.py` on a board that has Python and LiteRT: every sample comes back."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from device_bench.device import Job, JobResult, Missing
from device_bench.errors import RunnerError, UsageError
from device_bench.litert import RUNNER, RunnerOutput, job_result, job_text, read_load, read_output
from device_bench.load import LoadTrace
from device_bench.probes.battery import LoadRun
from device_bench.process import output_of
from device_bench.profile import PROFILER, profile_ops
from device_bench.records import OpTime
from device_bench.shell import Remote, Shell

MARGIN_S = 30.0
"""What starting Python on a slow board may take beyond the job's own limit, which the runner keeps itself."""
FIND = "import importlib.util as u, sys; sys.exit(not (u.find_spec('ai_edge_litert') and u.find_spec('numpy')))"


def find_python(shell: Shell, candidates: Sequence[str]) -> str | None:
    """The first Python on the device that has LiteRT, or None."""
    tries = " || ".join(f'{{ "${i}" -c "$0" 2>/dev/null && echo "${i}"; }}' for i in range(1, len(candidates) + 1))
    found = shell.run(["sh", "-c", tries, FIND, *candidates]).stdout.splitlines()
    return found[-1] if found else None


class LitertRemote:
    """LiteRT in a board's Python.

    Args:
        remote: the device.
        python: its Python, as `find_python` gives it.
    """

    def __init__(self, remote: Remote, python: str) -> None:
        self._remote = remote
        self._python = python

    def run(self, job: Job, folder: str, around: AbstractContextManager[object] | None = None) -> JobResult:
        """Time a job's models. The result's `thermal` is None: whoever watches the device fills it in.

        Args:
            folder: one on the device for this job alone; the caller removes it.
            around: entered and left directly around the runner's process.

        Raises:
            UsageError: LiteRT refuses a model file.
            TransientDeviceError: the link broke.
            RunnerError: the runner died, hung or printed garbage.
        """
        return job_result(self._output(job, folder, around, "job"), Missing(reason="not watched"))

    def load(self, job: Job, folder: str, seconds: float) -> LoadRun:
        """Keep the device busy with the job's only model for some seconds of inferences, for a power meter."""
        longer = job.model_copy(update={"min_seconds": seconds, "timeout_s": job.timeout_s + seconds})
        output = self._output(longer, folder, None, "load")
        start_s, end_s = output.loop_s
        (model,) = output.models
        runs = sum(map(len, model.blocks))
        return LoadRun(start_s=start_s, end_s=end_s, busy_s=model.wall_s, inferences=runs)

    def sustain(self, job: Job, folder: str) -> LoadTrace:
        """Keep the device busy as `Device.sustain` says, in one job."""
        there = self._place(job)

        def stop() -> str:
            self._remote.stop(started)
            return self._remote.pull(f"{folder}/sustained/stdout").decode(errors="replace")

        started = self._start(job, there, folder, "sustained")
        try:
            return read_load(lambda: self._printed(started, job.timeout_s), stop)
        except RunnerError as error:
            raise RunnerError(f"{', '.join(map(str, there))}: {error}") from error

    def ops(self, job: Job, folder: str) -> tuple[OpTime, ...] | Missing:
        """Time of each operation of the job's only model."""
        profiler = self._remote.cached(PROFILER, ".py")

        def run(stdin: str, timeout_s: float) -> str:
            started = self._remote.start([self._python, profiler, "-"], folder, stdin, "ops")
            return self._printed(started, timeout_s)[0]

        return profile_ops(job, run, self._place(job)[job.models[0].path])

    def _place(self, job: Job) -> dict[Path, str]:
        """The models' paths on the device."""
        return {model.path: self._remote.cached(model.path, ".tflite") for model in job.models}

    def _start(self, job: Job, there: dict[Path, str], folder: str, name: str) -> Any:
        runner = self._remote.cached(RUNNER, ".py")
        models = tuple(model.model_copy(update={"path": there[model.path]}) for model in job.models)
        text = job_text(job.model_copy(update={"models": models}))
        return self._remote.start([self._python, runner, "-"], folder, text, name)

    def _output(self, job: Job, folder: str, around: AbstractContextManager[object] | None, name: str) -> RunnerOutput:
        # The device's own files have no names that a user knows; its messages come back with the user's.
        there = self._place(job)
        with around or nullcontext():
            started = self._start(job, there, folder, name)
            ended = self._remote.collect(started, job.timeout_s + MARGIN_S)
        try:
            return read_output(*output_of("the runner", ended), job)
        except (UsageError, RunnerError) as error:
            message = str(error)
            for here, path in there.items():
                message = message.replace(path, str(here))
            named = message if isinstance(error, UsageError) else f"{', '.join(map(str, there))}: {message}"
            raise type(error)(named) from error

    def _printed(self, started: Any, timeout_s: float) -> tuple[str, str]:
        """(stdout, stderr) of a job that came to its own end."""
        return output_of("the runner", self._remote.collect(started, timeout_s + MARGIN_S))
