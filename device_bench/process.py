"""Runs a program on this machine: with a time-out, in an environment of our choice, all its children ended with it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence

from device_bench.errors import RunnerError
from device_bench.shell import Finished

LAST_LINES = 20
PIPES_S = 1.0
MAX_SIGNAL = 64
LIKELY = {"SIGKILL": " (out of memory?)", "SIGSEGV": " (a damaged model file?)", "SIGBUS": " (a damaged model file?)"}

# What a Python program needs to find itself and its packages, and nothing that steers how fast it runs.
KEPT_VARIABLES = ("PATH", "HOME", "TMPDIR", "LANG", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME")


def clean_environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    return {**kept, "OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}


def run_process(argv: Sequence[str], stdin: str, timeout_s: float) -> tuple[str, str]:
    """Run a runner in a clean environment: feed it its input and return its (stdout, stderr).

    Raises:
        RunnerError: it could not be started, was killed, failed, or took longer than `timeout_s`; the text ends with
            its last output.
    """
    return output_of("the runner", run_to_end("the runner", argv, timeout_s, clean_environment(), stdin))


def output_of(called: str, ended: Finished) -> tuple[str, str]:
    """The (stdout, stderr) of a program that did well.

    Raises:
        RunnerError: it did not; the text ends with its last output.
    """
    name = signal_name(ended.exit_code)
    if name is not None:
        end = f"was ended by {name}{LIKELY.get(name, '')}"
        raise RunnerError(f"{called} {end}{last_lines(ended.stdout, ended.stderr)}")
    if ended.exit_code > 0:
        end = f"ended with exit code {ended.exit_code}"
        raise RunnerError(f"{called} {end}{last_lines(ended.stdout, ended.stderr)}")
    return ended.stdout, ended.stderr


def signal_name(exit_code: int) -> str | None:
    """The signal that ended a program: -11 of one started from here, 139 from a shell; None where none did."""
    number = -exit_code if exit_code < 0 else exit_code - 128
    if not 0 < number <= MAX_SIGNAL:
        return None
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


def run_to_end(
    called: str, argv: Sequence[str], timeout_s: float, environment: Mapping[str, str], stdin: str = ""
) -> Finished:
    """Run a program and its children to their end; an exit code below zero is the signal that ended it.

    Args:
        called: what messages call the program.

    Raises:
        RunnerError: it could not be started, or took longer than `timeout_s`; the text ends with its last output.
    """
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,  # a process group of its own, so that its children can be ended with it
            encoding="utf-8",
            errors="replace",
        )
    except OSError as error:
        raise RunnerError(f"{called} could not be started: {error}") from error
    try:
        stdout, stderr = process.communicate(stdin, timeout=timeout_s)
    except subprocess.TimeoutExpired as error:
        stdout, stderr = _kill_group(process)
        raise RunnerError(
            f"{called} took longer than {timeout_s:g} s and was killed{last_lines(stdout, stderr)}"
        ) from error
    except BaseException:  # Ctrl-C included: nothing of ours may run on
        _kill_group(process)
        raise
    return Finished(exit_code=process.returncode, stdout=stdout, stderr=stderr)


class LocalShell:
    """Runs commands on this machine, as `Shell` says.

    Args:
        called: what messages call the command.
    """

    def __init__(self, called: str) -> None:
        self._called = called

    def run(self, argv: Sequence[str], timeout_s: float = 20.0) -> Finished:
        return run_to_end(self._called, argv, timeout_s, clean_environment())


class BackgroundProcess:
    """A program that runs on until it ends or is stopped; nothing that it prints is lost by either.

    Raises:
        RunnerError: it could not be started.
    """

    def __init__(self, called: str, argv: Sequence[str], stdin: str = "") -> None:
        self._called = called
        self._input, self._stdout, self._stderr = (tempfile.TemporaryFile() for _ in range(3))  # noqa: SIM115 - `_text`
        self._input.write(stdin.encode())
        self._input.seek(0)
        try:
            self._process = subprocess.Popen(
                list(argv),
                stdin=self._input,
                stdout=self._stdout,
                stderr=self._stderr,
                env=clean_environment(),
                start_new_session=True,  # its children end with it, and Ctrl-C is for us alone
            )
        except OSError as error:
            self._text()
            raise RunnerError(f"{called} could not be started: {error}") from error

    def wait(self, timeout_s: float) -> Finished:
        """Wait for its end; an exit code below zero is the signal that ended it.

        Raises:
            RunnerError: it took longer than `timeout_s`, and was killed; the text ends with its last output.
        """
        try:
            exit_code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            self._kill()
            said = last_lines(*self._text())
            raise RunnerError(f"{self._called} took longer than {timeout_s:g} s and was killed{said}") from error
        stdout, stderr = self._text()
        return Finished(exit_code=exit_code, stdout=stdout, stderr=stderr)

    def stop(self) -> str:
        """Kill it and its children, and return what it printed."""
        self._kill()
        return self._text()[0]

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _text(self) -> tuple[str, str]:
        """What it printed; its files are gone with this."""
        texts = []
        with self._input, self._stdout, self._stderr:
            for file in (self._stdout, self._stderr):
                file.seek(0)
                texts.append(file.read().decode(errors="replace"))
        return texts[0], texts[1]


def _kill_group(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Kill the program and its children, and return what it printed until then."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    try:
        return process.communicate(timeout=PIPES_S)
    except subprocess.TimeoutExpired as error:
        # A child that left the group holds the pipes open, and may do so for ever.
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        process.wait()
        return _text(error.stdout), _text(error.stderr)


def _text(output: bytes | str | None) -> str:
    """What a time-out carries is bytes, whatever the pipes were opened as (python/cpython#87597)."""
    return output.decode(errors="replace") if isinstance(output, bytes) else output or ""


def last_lines(stdout: str, stderr: str) -> str:
    """The end of a program's output, as the end of an error message."""
    lines = [line for line in (stdout + "\n" + stderr).splitlines() if line.strip()][-LAST_LINES:]
    if not lines:
        return "; it printed nothing"
    # A program on a device may print anything; a terminal must not obey it.
    shown = ("".join(c if c.isprintable() or c == "\t" else "?" for c in line[:400]) for line in lines)
    return "; its last output:\n" + "\n".join(f"  {line}" for line in shown)
