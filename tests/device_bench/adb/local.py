"""A link to this very machine, and sets of tools like those of devices: what is sent is right for all of them."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path

from device_bench.adb.link import MAX_OUTPUT_BYTES, Link
from device_bench.errors import RunnerError, TransientDeviceError

# The first is Android's shell and tools.
DEVICES = ["mksh toybox", "busybox", "dash"]


def toolbox(name: str, folder: Path) -> str | None:
    """A PATH under which `sh` and its tools are those of such a device; None: this machine has them not."""
    if any(shutil.which(program) is None for program in name.split()):
        return None
    shell, _, tools = name.partition(" ")
    tools = tools or ("busybox" if shell == "busybox" else "")
    if tools:
        listed = subprocess.run([tools, *(["--list"] if tools == "busybox" else [])], capture_output=True, text=True)
        for applet in listed.stdout.split():
            (folder / applet).symlink_to(str(shutil.which(tools)))
    (folder / "sh").unlink(missing_ok=True)
    (folder / "sh").symlink_to(str(shutil.which(shell)))
    return f"{folder}:{os.environ['PATH']}"


class LocalLink(Link):
    """Runs each command as an adbd would, in a session of its own.

    The next `breaks` calls fail before anything is done, the next `late` ones after it; `damage` pushes lose a byte.
    """

    def __init__(self, path: str) -> None:
        self.description = "local"
        self.breaks = 0
        self.late = 0
        self.calls = 0
        self.damage = 0
        self._path = path

    def execute(self, command: str, timeout_s: float, limit_bytes: int = MAX_OUTPUT_BYTES) -> bytes:
        self.calls += 1
        if self.breaks:
            self.breaks -= 1
            raise TransientDeviceError("the link broke, as ordered")
        process = subprocess.Popen(
            ["sh", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={"PATH": self._path},
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            # adbd lets the command run on; only we stop listening. The outermost shell must not outlive the test.
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
            assert process.stdout
            process.stdout.close()
            process.wait()
            raise RunnerError(f"a command took longer than {timeout_s:g} s") from error
        if self.late:
            self.late -= 1
            raise TransientDeviceError("the link broke, as ordered, when it was done")
        if len(output) > limit_bytes:
            raise RunnerError("too much")
        return output

    def push(self, source: Path | bytes, target: str, mode: int, timeout_s: float) -> None:
        content = source if isinstance(source, bytes) else source.read_bytes()
        if self.damage:
            self.damage -= 1
            content = content[:-1]
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        Path(target).write_bytes(content)

    def reconnect(self) -> None:
        pass

    def close(self) -> None:
        pass
