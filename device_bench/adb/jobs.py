"""Jobs that run on a device by themselves, and outlive the link.

A job holds an exclusive file lock (flock) on a file of its folder, which its first process inherits from the shell that
starts it and which the kernel lets go of when the last process of the job is gone, however that ended. To wait for a
job is to wait for that lock: a process that sleeps in the kernel, over a link that comes and goes, beside whatever is
being timed. A job that ended by itself has left its exit code; one that left none was killed, or the device restarted.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Sequence
from math import ceil

from device_bench.adb.caller import RUN_VARIABLE, Caller
from device_bench.adb.files import Files
from device_bench.errors import DeviceUnavailableError, RunnerError, TransientDeviceError, UsageError
from device_bench.process import last_lines
from device_bench.records import Record
from device_bench.shell import Finished

_NAME = re.compile("[a-z0-9_]+")

# $0 the job's folder in the run's, $@ its command
_JOB = r'"$@" <"$0/stdin" >"$0/stdout" 2>"$0/stderr"; echo $? >"$0/rc.part" && mv "$0/rc.part" "$0/rc"'

# $1 run folder, $2 job's name, $3 its mark, $4 what it does, then its command. Calling it twice starts one job.
# Some adbd give every command a terminal, whose end hangs up on what has not come to its own session yet.
_START = (
    r"""
cd "$1" 2>/dev/null || { echo gone; exit 0; }
run=$1 name=$2 mark=$3 job=$4
shift 4
mkdir -p "$name" || exit 1
{
  if flock -n 9 && [ ! -e "$name/started" ]; then
    : >>"$name/stdin" || exit 1
    echo >"$name/started" || { rm -f "$name/started"; exit 1; }
    export """
    + RUN_VARIABLE
    + r"""="$mark" TMPDIR="$run"
    trap '' HUP
    setsid sh -c "$job" "$name" "$@" </dev/null >/dev/null 2>&1 &
  fi
  read -r boot </proc/sys/kernel/random/boot_id
  echo "boot $boot"
} 9>>"$name/lock"
"""
)

# $1 the job's folder, $2 how long it may take from now. `until` tells other clients when it is overdue (see `lock.py`).
_COLLECT = r"""
if cd "$1" 2>/dev/null && [ -e lock ]; then
  read -r uptime rest </proc/uptime
  { echo $((${uptime%%.*} + $2)) >until; } 2>/dev/null
  { flock -s 9; } 9<lock
  if [ -f rc ]; then
    echo "ended $(cat rc)"
    cat stdout
    cat stderr >&2
    exit 0
  fi
fi
read -r boot </proc/sys/kernel/random/boot_id
echo "gone $boot"
"""
_TAIL = 'cd "$1" && tail -c 4000 stdout; tail -c 4000 stderr >&2; exit 0'


class DetachedJob(Record):
    folder: str
    """The job's own folder: `stdin`, `stdout`, `stderr` and, when it has ended, `rc`."""
    mark: str
    """What its processes carry in their environment."""
    boot_id: str

    @property
    def stdout_path(self) -> str:
        return f"{self.folder}/stdout"


class Jobs:
    def __init__(self, caller: Caller, files: Files) -> None:
        self._caller = caller
        self._files = files
        self._running: set[str] = set()
        """Marks of the jobs that were started and have not been seen to end."""

    def start(self, argv: Sequence[str], run_folder: str, stdin: str = "", name: str = "job") -> DetachedJob:
        """Start a command in a run folder, which is its working and its temporary folder.

        Raises:
            TransientDeviceError: the link broke and did not come back, or the folder is gone.
            DeviceUnavailableError: the device's storage is full.
        """
        if not _NAME.fullmatch(name):
            raise UsageError(f"{name!r}: a job's name is made of a-z, 0-9 and _")
        job_folder = f"{run_folder}/{name}"
        mark = f"{run_folder.rpartition('/')[2]}/{name}"
        if stdin:
            self._caller.patiently(lambda: self._files.send(stdin.encode(), f"{job_folder}/stdin", 0o600))
        self._running.add(mark)
        arguments = run_folder, name, mark, _JOB, *argv
        answer = self._caller.patiently(lambda: self._caller.script(_START, *arguments).rstrip("\n"))
        if not answer.startswith("boot "):
            raise TransientDeviceError(
                f"{self._caller.link.description}: the run's folder is gone; the device was restarted or taken over"
            )
        return DetachedJob(folder=job_folder, mark=mark, boot_id=answer.removeprefix("boot "))

    def collect(self, job: DetachedJob, timeout_s: float) -> Finished:
        """Wait for a job to end, over as many connections as it takes; 128 + n is the exit code of signal n.

        Raises:
            TransientDeviceError: the link did not come back, the device was restarted, or the job was killed.
            RunnerError: the job took longer than `timeout_s` from now, or printed too much; it was killed.
        """
        deadline_s = time.monotonic() + timeout_s
        while True:
            left_s = max(1.0, deadline_s - time.monotonic())
            try:
                script = ["sh", "-c", _COLLECT, "pocketprune", job.folder, str(ceil(left_s))]
                finished = self._caller.run(script, left_s)
                break
            except TransientDeviceError:
                self._caller.rejoin()
            except RunnerError as error:
                raise self._killed(job, timeout_s, error, late=time.monotonic() >= deadline_s) from error
        head, _, stdout = finished.stdout.partition("\n")
        word, _, value = head.partition(" ")
        if word == "ended" and re.fullmatch("[0-9]{1,3}", value):
            self._running.discard(job.mark)
            return Finished(exit_code=int(value), stdout=stdout, stderr=finished.stderr)
        raise self._vanished(job, value)

    def stop(self, job: DetachedJob) -> None:
        """Kill a job with all that it started; its files stay until the run folder goes."""
        self._caller.patiently(lambda: self._caller.reap(f"^{RUN_VARIABLE}={job.mark}$"))
        self._running.discard(job.mark)

    def forget(self, run_folder: str) -> None:
        """Kill what still runs of a run."""
        run = run_folder.rpartition("/")[2]
        marks = {mark for mark in self._running if mark.startswith(f"{run}/")}
        if marks:
            self._caller.reap(f"^{RUN_VARIABLE}={run}/")
            self._running -= marks

    def _killed(self, job: DetachedJob, timeout_s: float, error: RunnerError, late: bool) -> RunnerError:
        output = Finished(exit_code=0, stdout="", stderr="")
        with contextlib.suppress(DeviceUnavailableError, RunnerError):
            self.stop(job)
            output = self._caller.run(["sh", "-c", _TAIL, "pocketprune", job.folder])
        slow = f"{self._caller.link.description}: the runner took longer than {timeout_s:g} s and was killed"
        return RunnerError((slow if late else f"{error}; it was killed") + last_lines(output.stdout, output.stderr))

    def _vanished(self, job: DetachedJob, boot_id: str) -> DeviceUnavailableError:
        self._running.discard(job.mark)
        device = self._caller.link.description
        if boot_id != job.boot_id:
            return TransientDeviceError(f"{device}: the device was rebooted while a job ran")
        full = self._files.storage_full()
        if full is not None:
            return full
        return TransientDeviceError(
            f"{device}: the job vanished without an exit code; something killed it (out of memory?), "
            "or adb was restarted on the device"
        )
