"""Commands on a device, over a link: what files, jobs and the lock are made of."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Sequence

from device_bench.adb.link import MAX_OUTPUT_BYTES, Link
from device_bench.adb.shell import MAX_STDERR_BYTES, Call, RawFinished
from device_bench.errors import DeviceUnavailableError, RunnerError, TransientDeviceError
from device_bench.shell import Finished

RECONNECT_S = 30.0
"""How long a lost link is called for before the device counts as gone."""
RUN_VARIABLE = "POCKETPRUNE_RUN"

# Kills every process that has a line like $1 in its environment. Again until none is left: they may be forking.
# Processes of containers are seen from outside, but are others' business. A phone runs some hundreds of processes that
# this user may not look into: for those nothing is started, which would take seconds there.
REAP = r"""
reap() {
  here=$(readlink /proc/self/ns/pid)
  for turn in 1 2 3 4 5; do
    found=
    for file in /proc/[0-9]*/environ; do
      [ -r "$file" ] || continue
      if { tr '\000' '\n' <"$file"; } 2>/dev/null | grep -q "$1"; then
        process=${file%/environ}
        if [ "$(readlink "$process/ns/pid")" = "$here" ]; then kill -9 "${process#/proc/}" && found=1; fi
      fi
    done
    [ "$found" ] || return 0
  done
}
"""


class StorageFullError(DeviceUnavailableError):
    pass


class Caller:
    """Runs argument lists and small scripts on the device of a link."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self._lost_s: float | None = None
        """When a lost link was first called for."""

    def call(self, argv: Sequence[str], timeout_s: float, limit_bytes: int = MAX_OUTPUT_BYTES) -> RawFinished:
        """Run a command to its end; what does not end in time is killed, with all that it started.

        Raises:
            TransientDeviceError: the link broke or went silent; it is joined again by the next call.
            RunnerError: it took longer than `timeout_s`, or printed more than `limit_bytes`.
        """
        call = Call(argv)
        try:
            finished = call.finish(self.link.execute(call.line, timeout_s, limit_bytes + 2 * MAX_STDERR_BYTES))
            self._lost_s = None
            return finished
        except TransientDeviceError:
            raise
        except BaseException:
            with contextlib.suppress(DeviceUnavailableError, RunnerError):
                self.reap(f"^{call.variable}$")
            raise

    def run(self, argv: Sequence[str], timeout_s: float = 20.0, check: bool = False) -> Finished:
        """As `call`, with text; `check` makes an exit code other than 0 a RunnerError."""
        raw = self.call(argv, timeout_s)
        finished = Finished(
            exit_code=raw.exit_code,
            stdout=raw.stdout.decode("utf-8", "replace"),
            stderr=raw.stderr.decode("utf-8", "replace"),
        )
        if check and finished.exit_code != 0:
            raise RunnerError(
                f"{self.link.description}: {argv[0]} ended with exit code {finished.exit_code}: "
                f"{finished.stderr.strip()[-400:] or 'it gave no reason'}"
            )
        return finished

    def script(self, text: str, *arguments: str, timeout_s: float = 20.0) -> str:
        """Run a script of ours; its arguments are $1, $2, ... and never part of its text.

        Raises:
            StorageFullError: it failed for want of space.
            DeviceUnavailableError: it failed.
        """
        finished = self.run(["sh", "-c", text, "pocketprune", *arguments], timeout_s)
        if finished.exit_code == 0:
            return finished.stdout
        reason = finished.stderr.strip()[-400:] or f"exit code {finished.exit_code}"
        if re.search("no space left|disk quota exceeded", reason, re.IGNORECASE):
            raise StorageFullError(f"{self.link.description}: the device's storage is full: {reason}")
        raise DeviceUnavailableError(f"{self.link.description}: the device refused: {reason}")

    def reap(self, pattern: str) -> None:
        """Kill the processes that have such a line in their environment."""
        call = Call(["sh", "-c", REAP + 'reap "$1"', "pocketprune", pattern])
        call.finish(self.link.execute(call.line, timeout_s=20.0))

    def patiently[T](self, action: Callable[[], T]) -> T:
        """Do what may be done twice, once more after a lost link is back."""
        if not self.lost:
            with contextlib.suppress(TransientDeviceError):
                return action()
        self.rejoin()
        return action()

    @property
    def lost(self) -> bool:
        """Has the link been called for, and not been heard of since?"""
        return self._lost_s is not None

    def rejoin(self) -> None:
        """Join a lost link again, which may take the device a while: it may be restarting.

        Raises:
            TransientDeviceError: it did not come back within `RECONNECT_S` of the first call for it.
        """
        self._lost_s = self._lost_s or time.monotonic()
        while True:
            try:
                return self.link.reconnect()
            except TransientDeviceError:
                if time.monotonic() > self._lost_s + RECONNECT_S:
                    raise
                time.sleep(0.5)
