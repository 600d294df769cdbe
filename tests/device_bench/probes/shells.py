"""Shells for the tests of the probes: one that runs here, and one that answers from a list."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from device_bench.shell import Finished


class LocalShell:
    """Runs commands on this machine, `sh` being the shell of one's choice, programs of `bin_dir` first."""

    def __init__(self, bin_dir: Path, sh: Sequence[str] = ("sh",)) -> None:
        self._environment = {"PATH": f"{bin_dir}:/usr/bin:/bin"}
        self._sh = list(sh)

    def run(self, argv: Sequence[str], timeout_s: float = 20.0) -> Finished:
        argv = [*self._sh, *argv[1:]] if argv[0] == "sh" else list(argv)
        done = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            env=self._environment,
            check=False,
        )
        return Finished(exit_code=done.returncode, stdout=done.stdout, stderr=done.stderr)


class ScriptedShell:
    """Answers each command in turn; leaving it asserts that all answers were asked for."""

    def __init__(self, *replies: tuple[Sequence[str], str]) -> None:
        self._replies = list(replies)

    def run(self, argv: Sequence[str], timeout_s: float = 20.0) -> Finished:
        assert self._replies, f"nothing was to be run any more, but {list(argv)} was"
        start, stdout = self._replies.pop(0)
        assert list(argv)[: len(start)] == list(start)
        return Finished(exit_code=0, stdout=stdout, stderr="")

    def __enter__(self) -> "ScriptedShell":
        return self

    def __exit__(self, kind, error, trace) -> None:
        if kind is None:
            assert not self._replies, f"never asked for: {self._replies}"


def program(bin_dir: Path, name: str, script: str) -> None:
    bin_dir.mkdir(exist_ok=True)
    (bin_dir / name).write_text(f"#!/bin/sh\n{script}\n")
    (bin_dir / name).chmod(0o755)
