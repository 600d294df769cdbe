"""A way to run commands on another machine: what the probes and the runners' drivers know of a link."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from device_bench.records import Record


class Finished(Record):
    """A command that ended; its text is decoded as UTF-8, with what is none replaced."""

    exit_code: int
    stdout: str
    stderr: str


class Shell(Protocol):
    def run(self, argv: Sequence[str], timeout_s: float = 20.0) -> Finished:
        """Run a command to its end; every argument arrives as it is, whatever is in it.

        Raises:
            TransientDeviceError: the link broke or went silent; it is joined again by the next call.
            RunnerError: the command took longer than `timeout_s`.
        """


class Remote(Shell, Protocol):
    """A machine that also holds files of ours, and runs jobs that outlive a broken link; errors as for `run`."""

    def cached(self, source: Path, suffix: str = "") -> str:
        """The path there of a file with this content, pushed if it is not there yet; its name ends in `suffix`."""

    def push(self, source: Path | bytes, target: str, mode: int = 0o644) -> Any:
        """Put a file there, whole or not at all."""

    def pull(self, path: str) -> bytes:
        """The content of a file there."""

    def start(self, argv: Sequence[str], folder: str, stdin: str = "", name: str = "job") -> Any:
        """Start a detached job in a run folder, with its files in `folder/name`; what it returns is for `collect`.

        A name is made of a-z, 0-9 and _, and given once.
        """

    def collect(self, job: Any, timeout_s: float) -> Finished:
        """Wait for a job without disturbing it; an exit code of 128 + n is signal n. A job that is late is ended."""

    def stop(self, job: Any) -> None:
        """End a job and all that it started; its files stay."""
