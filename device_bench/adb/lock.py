"""One client at a time on a device.

The owner's note lies in the base folder: who, since which boot, when last touched. It is touched at the start of every
run and never while something is timed: an owner is alive while a job of its own runs and is not overdue, which the
job's file lock proves (see `jobs.py`), while it sends a file, or for `PATIENCE_S` after its last touch. The note of a
client that is neither, that is from before a reboot, or whose process on this machine has ended (see `Claim`), is taken
over; whatever of that client still runs is killed, and its folders are removed.
"""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import os
import re
import secrets
import socket
import tempfile
import time
from functools import partial
from pathlib import Path

from device_bench.adb.caller import REAP, RUN_VARIABLE, Caller
from device_bench.errors import RunnerError, TransientDeviceError

PATIENCE_S = 30
WAIT_S = 60.0
POLL_S = 1.0

# $1 base folder, $2 our name, $3 who we are, $4 a folder to make, $5 patience, $6 a client that is known to be gone
_HOLD = (
    REAP
    + r"""
cd "$1" || exit 1
{
  flock 9
  read -r boot </proc/sys/kernel/random/boot_id
  read -r uptime rest </proc/uptime
  uptime=${uptime%%.*}
  # Shells evaluate what stands in their arithmetic: a number there is a number, or 0.
  number() { case $1 in "" | *[!0-9]*) echo 0 ;; *) echo "$1" ;; esac; }
  owner= live=
  if [ -f owner ]; then
    { read -r owner; read -r owner_boot; read -r touched; read -r who; } <owner
  fi
  if [ "$owner" != "$2" ]; then
    if [ "$owner" ] && [ "$owner" != "$6" ] && [ "$owner_boot" = "$boot" ]; then
      for lock in runs/*/*/lock; do
        until=$((uptime + 1))
        if [ -s "${lock%lock}until" ]; then read -r until <"${lock%lock}until"; until=$(number "$until"); fi
        if [ "$uptime" -lt "$((until + $5))" ] && [ -f "$lock" ] && ! { flock -n -s 8; } 8<"$lock"; then
          live=$lock
        fi
      done
      sent=$(find incoming -type f -mmin -1 2>/dev/null)
      age=$((uptime - $(number "$touched")))
      if [ "$live$sent" ] || { [ "$age" -ge 0 ] && [ "$age" -lt "$5" ]; }; then
        echo "held by $who"
        echo "$live"
        echo "$owner"
        exit 0
      fi
    fi
    reap '^"""
    + RUN_VARIABLE
    + r"""='
    rm -rf runs/* incoming/*
  fi
  printf '%s\n' "$2" "$boot" "$uptime" "$3" >owner.part && mv -f owner.part owner && mkdir -p "$4" && echo mine
} 9>>mutex
"""
)
_AWAIT = 'cd "$1" && [ -f "$2" ] && { flock -s 9; } 9<"$2"; exit 0'
_RELEASE = r"""
cd "$1" || exit 0
{
  flock 9
  owner=
  if [ -f owner ]; then read -r owner <owner; fi
  if [ "$owner" = "$2" ]; then rm -f owner; fi
} 9>>mutex
"""


class ClientLock:
    """This client's claim on the device; it is taken anew by every `hold`, for another may have taken it over."""

    def __init__(self, caller: Caller, wait_s: float = WAIT_S) -> None:
        self._caller = caller
        self._wait_s = wait_s
        self._name = secrets.token_hex(8)
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        self._who = re.sub(r"[^ -~]", "?", f"{_user()}@{socket.gethostname()} (process {os.getpid()}) since {since}")
        self._claim: Claim | None = None

    def hold(self, base: str, folder: str) -> None:
        """Take the device, or confirm that it is ours, and make a folder there.

        Raises:
            TransientDeviceError: another client had it all the time.
        """
        self._claim = self._claim or Claim(self._name)
        deadline_s = time.monotonic() + self._wait_s
        gone = ""
        while True:
            arguments = base, self._name, self._who, folder, str(PATIENCE_S), gone
            answer = self._caller.patiently(partial(self._caller.script, _HOLD, *arguments)).splitlines()
            if answer[-1:] == ["mine"]:
                return
            held_by, live, owner = [*answer, "", "", ""][:3]
            if owner != gone and Claim.has_ended(owner):
                gone = owner
                continue
            remaining_s = deadline_s - time.monotonic()
            if remaining_s <= 0:
                raise TransientDeviceError(
                    f"{self._caller.link.description}: {held_by[:200] or 'held by somebody'}; waited "
                    f"{self._wait_s:g} s: let the other client end, or try again later"
                )
            if live:
                # Its job is being timed: wait for it without stirring the device.
                with contextlib.suppress(RunnerError):
                    self._caller.script(_AWAIT, base, live, timeout_s=remaining_s)
            else:
                time.sleep(min(POLL_S, remaining_s))

    def release(self, base: str) -> None:
        if self._claim is not None:
            self._caller.script(_RELEASE, base, self._name)
            self._claim.withdraw()

    def close(self) -> None:
        """Leave; a device that could not be told finds out by the claim, or by our silence."""
        if self._claim is not None:
            self._claim.close()
            self._claim = None


class Claim:
    """Tells other clients on this machine whether a client lives: by a file that it locks, which no death keeps locked.

    A client that has ended and could not let go of its device leaves its file behind, for the next client to remove.
    Where there is no such file, as for clients on other machines, nothing is known.
    """

    def __init__(self, name: str) -> None:
        self._path = _claim_path(name)
        self._file: int | None = None
        with contextlib.suppress(OSError):  # without it others have to be patient, nothing worse
            self._file = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    @staticmethod
    def has_ended(name: str) -> bool:
        if not re.fullmatch("[0-9a-f]{16}", name):  # it comes from the device
            return False
        path = _claim_path(name)
        try:
            with open(path) as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return False
        with contextlib.suppress(OSError):  # another user's
            path.unlink()
        return True

    def withdraw(self) -> None:
        """Remove the file: the device knows of nobody who would need it."""
        if self._file is not None:
            self._path.unlink(missing_ok=True)

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _claim_path(name: str) -> Path:
    return Path(tempfile.gettempdir(), f"pocketprune-client-{name}")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return str(os.getuid())
