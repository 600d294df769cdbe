"""Conversions in processes of their own: `Worker` starts one and calls functions in it; run as a module, this is one.

Why a process: converters print, crash and hang; and where tensorflow is installed, coremltools (which imports it)
and torch (whose triton brings its own LLVM) abort a process that loads both ("LLVM ERROR: inconsistency in registered
CommandLine options"). A worker hides tensorflow from everything it imports, or is one for tensorflow alone.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
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
"""More than any one call here has taken, less than anybody waits for one that hangs."""

_LOG_LINES = 12


class Worker:
    """One process that stays warm between calls; it starts at the first call, and again after a time-out or a crash.

    It may be used by one thread at a time, `kill` excepted.

    Args:
        tensorflow: whether what is called there may import tensorflow; it then must not import torch or coremltools.
    """

    def __init__(self, timeout_s: float = TIMEOUT_S, *, tensorflow: bool = False) -> None:
        self._timeout_s = timeout_s
        self._tensorflow = "shown" if tensorflow else "hidden"
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection[Any, Any] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="pocketprune-")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start the process, unless it is there, without waiting until it is ready."""
        if self._process is not None:
            if self._process.poll() is None:
                return
            self._reap()
        ours, theirs = Pipe()
        path = filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")])
        # Converters leave files in the temporary folder (coremltools its packages): they go with the worker's own.
        environment = {"PYTHONPATH": os.pathsep.join(path), "TMPDIR": self._folder.name}
        with self._log.open("wb") as log:
            # -P keeps the current folder, which may hold a user's own `pipeline` or `models`, off the import path.
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-m", "pipeline.export.worker"),
                    *(str(theirs.fileno()), self._folder.name, self._tensorflow),
                ],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder.name,
                env=os.environ | environment,
            )
        theirs.close()
        self._connection = ours

    def call(self, stage: str, function: str, **arguments: Any) -> Any:
        """Call `pipeline.export.<module>:<name>` with pickled arguments and return its result.

        The function finds itself in a folder of the worker's own, which lasts as long as the worker.

        Raises:
            ExportError: it raised, ended or took too long; the text names `stage` and holds the last lines printed.
        """
        self.start()
        assert self._process is not None and self._connection is not None
        try:
            self._connection.send((function, arguments))
            if not self._connection.poll(self._timeout_s):
                self.kill()
                raise ExportError(self._explain(stage, f"no answer after {self._timeout_s:g} s"))
            succeeded, value = self._connection.recv()
        except (EOFError, OSError) as error:
            raise ExportError(self._explain(stage, f"its process ended (exit status {self._reap()})")) from error
        if not succeeded:
            raise ExportError(f"{stage} failed: {value}")
        return value

    def kill(self) -> None:
        """End what a `call` in another thread is doing; that call then raises."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=30.0)

    def close(self) -> None:
        """End the process and remove its folder."""
        self.kill()
        self._reap()
        self._folder.cleanup()

    @property
    def _log(self) -> Path:
        return Path(self._folder.name, "log.txt")

    def _reap(self) -> int | None:
        if self._process is None or self._connection is None:
            return None
        self._connection.close()
        code = self._process.wait(timeout=30.0)
        self._process = self._connection = None
        return code

    def _explain(self, stage: str, what: str) -> str:
        lines = [line for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
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
                answer = (False, _describe(error))
            connection.send(answer)


def _describe(error: Exception) -> str:
    """The error's text and where it was raised."""
    lines = [line for line in f"{type(error).__name__}: {error}".splitlines() if line.strip()]
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return "\n  ".join([*lines[:_LOG_LINES], f"in {frame.name} ({Path(frame.filename).name}, line {frame.lineno})"])


if __name__ == "__main__":
    if sys.argv[3] == "hidden":
        sys.modules["tensorflow"] = None  # type: ignore[assignment] # `import tensorflow` now says that it is not there
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the caller's, who then ends this process
    warnings.simplefilter("ignore")
    tempfile.tempdir = sys.argv[2]  # what a converter leaves lying goes with this folder
    _serve(Connection(int(sys.argv[1])))
    shutil.rmtree(sys.argv[2], ignore_errors=True)  # whoever made this folder was killed before it could
