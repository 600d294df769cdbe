"""Conversions in processes of their own: `Worker` starts one and calls functions in it; run as a module, this is one.

Why a process: converters print, crash and hang; and where tensorflow is installed, coremltools (which imports it)
and torch (whose triton brings its own LLVM) abort a process that loads both ("LLVM ERROR: inconsistency in registered
CommandLine options"). A worker hides tensorflow from everything it imports; nothing here needs it.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any, Self

from pipeline.errors import ExportError

TIMEOUT_S = 600.0
"""More than any conversion here has taken (ResNet-50: 12 s), less than anybody waits for one that hangs."""

_LOG_LINES = 12


class Worker:
    """One process that stays warm between calls; it starts at the first call, and again after a time-out or a crash."""

    def __init__(self, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection[Any, Any] | None = None
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the worker

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start the process without waiting for it, so that it warms up while other work is done."""
        if self._process is not None:
            return
        self._log.seek(0)
        self._log.truncate()
        ours, theirs = Pipe()
        root = str(Path(__file__).parents[2])
        # -P keeps the current folder, which may hold a user's own `pipeline` or `models`, off the import path.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "pipeline.export.worker", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))},
        )
        theirs.close()
        self._connection = ours

    def call(self, stage: str, function: str, **arguments: Any) -> Any:
        """Call `pipeline.export.<module>:<name>` with pickled arguments and return its result.

        Raises:
            ExportError: it raised, ended or took too long; the text names `stage` and holds the last lines printed.
        """
        self.start()
        assert self._connection is not None
        try:
            self._connection.send((function, arguments))
            if not self._connection.poll(self._timeout_s):
                self._stop()
                raise ExportError(self._explain(stage, f"no answer after {self._timeout_s:g} s"))
            succeeded, value = self._connection.recv()
        except (EOFError, OSError) as error:
            code = self._stop()
            raise ExportError(self._explain(stage, f"its process ended (exit status {code})")) from error
        if not succeeded:
            raise ExportError(f"{stage} failed: {value}")
        return value

    def close(self) -> None:
        self._stop()
        self._log.close()

    def _stop(self) -> int | None:
        """End the process; its own exit status, or None where it had to be killed."""
        if self._process is None or self._connection is None:
            return None
        self._connection.close()  # the worker's loop ends when it finds the other end closed
        try:
            code: int | None = self._process.wait(timeout=2.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            code = None
        self._process = self._connection = None
        return code

    def _explain(self, stage: str, what: str) -> str:
        self._log.seek(0)
        lines = [line for line in self._log.read().decode(errors="replace").splitlines() if line.strip()]
        return "\n  ".join([f"{stage} failed: {what}", *lines[-_LOG_LINES:]])


def _serve(connection: Connection[Any, Any]) -> None:
    with contextlib.suppress(EOFError, OSError):  # the other end went away: nobody waits for an answer
        while True:
            function, arguments = connection.recv()
            module, name = function.split(":")
            try:
                target = getattr(importlib.import_module(f"pipeline.export.{module}"), name)
                answer = (True, target(**arguments))
            except Exception as error:  # converters raise anything; the caller makes it an ExportError
                traceback.print_exc()
                answer = (False, _describe(error))
            connection.send(answer)


def _describe(error: BaseException) -> str:
    lines = traceback.format_exception(error, chain=True)
    text = f"{type(error).__name__}: {error}".strip().splitlines()
    where = [line.strip() for line in "".join(lines).splitlines() if line.lstrip().startswith("File ")]
    return "\n  ".join([*text[-_LOG_LINES:], *where[-1:]])


if __name__ == "__main__":
    sys.modules["tensorflow"] = None  # type: ignore[assignment] # `import tensorflow` now says that it is not there
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the caller's, who then closes the connection
    warnings.simplefilter("ignore")
    _serve(Connection(int(sys.argv[1])))
