"""A way to run commands on another machine: what the probes and the runners' drivers know of a link."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

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
