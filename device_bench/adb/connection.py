"""An open connection to a device over adb: everything that the rest of the package does with one."""

from __future__ import annotations

import contextlib
import functools
import secrets
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from device_bench.adb.caller import Caller, StorageFullError
from device_bench.adb.files import Files, FileStat, Home
from device_bench.adb.jobs import DetachedJob, Jobs
from device_bench.adb.link import MAX_OUTPUT_BYTES, Link
from device_bench.adb.lock import WAIT_S, ClientLock
from device_bench.errors import DeviceBenchError, DeviceUnavailableError, TransientDeviceError
from device_bench.shell import Finished

BASES = ("/data/local/tmp", "/var/tmp", "/tmp")
"""Where our folder may be; the first that may be written is taken."""

# $@ the folders to try
_FIND_HOME = r"""
for tool in flock setsid; do
  if ! command -v "$tool" >/dev/null; then echo "missing=$tool"; exit 0; fi
done
for folder in "$@"; do
  base=$folder/pocketprune
  if [ -d "$folder" ] && mkdir -p "$base/cache" "$base/incoming" "$base/runs" "$base/tools" 2>/dev/null &&
      [ -w "$base/runs" ] && [ -O "$base" ]; then
    echo "base=$base"
    if command -v sha256sum >/dev/null; then echo tool=sha256sum
    elif toybox sha256sum </dev/null >/dev/null 2>&1; then echo tool=toybox sha256sum
    else echo tool=
    fi
    exit 0
  fi
done
for folder in "$@"; do ls -ld "$folder/pocketprune" 2>/dev/null; done
df -kP "$1" 2>&1 | tail -n 1
"""


class AdbConnection:
    """A `Shell` with files and detached jobs, and with the device to itself while a run folder is open.

    After a failure of the link the next call joins it again. One call at a time: a second thread opens a second one.

    Args:
        link: is closed with this.
        wait_s: longest wait for another client to leave the device.
        bases: where to put our folder.
    """

    def __init__(self, link: Link, wait_s: float = WAIT_S, bases: Sequence[str] = BASES) -> None:
        self._link = link
        self._bases = bases
        self._caller = Caller(link)
        self._lock = ClientLock(self._caller, wait_s)
        self._leftovers: list[str] = []
        self.on_ended: Callable[[str, str], None] = lambda name, text: None
        """Told what each job printed, word for word."""

    @property
    def description(self) -> str:
        return self._link.description

    @functools.cached_property
    def home(self) -> Home:
        """Our folder on the device; made on first use, so that a look at a device leaves nothing there."""
        answer = self._caller.script(_FIND_HOME, *self._bases)
        found = dict(line.partition("=")[::2] for line in answer.splitlines())
        if "missing" in found:
            raise DeviceUnavailableError(
                f"{self.description}: the device has no `{found['missing']}`; Android has it from version 7 on, "
                "a Linux board with util-linux or BusyBox"
            )
        if "base" not in found:
            raise DeviceUnavailableError(
                f"{self.description}: none of {', '.join(self._bases)} can be written ({answer.strip()[:200]}); "
                "make room in one, let the adb user write there, or remove a pocketprune folder of another user's "
                "(`adb root` and back leaves one)"
            )
        return Home(base=found["base"], sha256_tool=found.get("tool", ""))

    @property
    def base(self) -> str:
        """Path of our folder on the device."""
        return self.home.base

    @functools.cached_property
    def _files(self) -> Files:
        return Files(self._caller, self.home)

    @functools.cached_property
    def _jobs(self) -> Jobs:
        return Jobs(self._caller, self._files)

    def run(self, argv: Sequence[str], timeout_s: float = 20.0, check: bool = False) -> Finished:
        """Run a command to its end (see `Shell`); `check` makes an exit code other than 0 a RunnerError.

        Its stdin is empty; of stderr the last 64 KiB come back, without trailing line ends.
        """
        return self._caller.run(argv, timeout_s, check)

    def push(self, source: Path | bytes, target: str, mode: int = 0o644) -> bool:
        """Make a file of the device hold this content, verified there; False: it did already. See `Files.push`."""
        return self._files.push(source, target, mode)

    def cached(self, source: Path | bytes, suffix: str = "", mode: int = 0o644) -> str:
        """Path on the device of a copy of this content, which is sent only where it is not there. See `Files`."""
        return self._files.cached(source, suffix, mode)

    def pull(self, path: str, timeout_s: float = 60.0, limit_bytes: int = MAX_OUTPUT_BYTES) -> bytes:
        return self._files.pull(path, timeout_s, limit_bytes)

    def sha256(self, path: str) -> str:
        return self._files.sha256(path)

    def stat(self, path: str) -> FileStat | None:
        return self._files.stat(path)

    @contextlib.contextmanager
    def run_folder(self) -> Iterator[str]:
        """A folder on the device for one run; at its end it is removed, and what still runs of the run is killed.

        A link that is lost at its beginning may take its time to come back (see `Caller.rejoin`).

        The device is ours alone from here on (see `lock.py`).

        Raises:
            TransientDeviceError: another client has the device.
        """
        self._caller.patiently(self._clear_leftovers)
        folder = f"{self.base}/runs/{secrets.token_hex(8)}"
        self._with_room(lambda: self._lock.hold(self.base, folder))
        try:
            yield folder
        finally:
            self._leftovers.append(folder)
            # The run's own outcome counts; what cannot be cleared now is cleared before the next one.
            with contextlib.suppress(DeviceBenchError):
                self._clear_leftovers()

    def start(self, argv: Sequence[str], folder: str, stdin: str = "", name: str = "job") -> DetachedJob:
        """Start a command that outlives the link, in a run folder. See `Jobs.start`."""
        return self._with_room(lambda: self._jobs.start(argv, folder, stdin, name))

    def collect(self, job: DetachedJob, timeout_s: float) -> Finished:
        """Wait for a job without stirring the device. See `Jobs.collect`."""
        finished = self._jobs.collect(job, timeout_s)
        self.on_ended(job.mark, f"exit code {finished.exit_code}\n{finished.stdout}\n{finished.stderr}")
        return finished

    def stop(self, job: DetachedJob) -> None:
        """Kill a job and all that it started."""
        self._jobs.stop(job)

    def close(self) -> None:
        with contextlib.suppress(DeviceBenchError):
            self._clear_leftovers()
            if "home" in self.__dict__:
                self._lock.release(self.base)
        self._lock.close()
        self._link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _clear_leftovers(self) -> None:
        while self._leftovers:
            try:
                self._clear(self._leftovers[0])
            except TransientDeviceError:
                if self._caller.lost:
                    raise
                self._clear(self._leftovers[0])  # the call joins the link again
            del self._leftovers[0]

    def _clear(self, folder: str) -> None:
        self._jobs.forget(folder)
        self._caller.script('rm -rf "$1" "$2"-*', folder, self._files.incoming)

    def _with_room[T](self, action: Callable[[], T]) -> T:
        """Do it, and where the device's storage is full do it once more with an empty cache."""
        try:
            return action()
        except StorageFullError:
            self._files.clear_cache()
        try:
            return action()
        except StorageFullError as error:
            raise self._files.storage_full() or error from error
