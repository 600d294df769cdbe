"""One client at a time on a device.

The owner's note lies in the base folder: who, since which boot, when last touched. It is touched at the start of every
run and never while something is timed: an owner is alive while a job of its own runs, which the job's file lock proves
(see `jobs.py`), or for `PATIENCE_S` after its last touch. The note of a client that is neither, or that is from
before a reboot, is taken over; whatever of that client still runs is killed, and its folders are removed.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import secrets
import socket
import time

from device_bench.adb.caller import REAP, RUN_VARIABLE, Caller
from device_bench.errors import RunnerError, TransientDeviceError

PATIENCE_S = 30
WAIT_S = 60.0
POLL_S = 1.0

# $1 base folder, $2 our name, $3 who we are, $4 a folder to make, $5 patience
_HOLD = (
    REAP
    + r"""
cd "$1" || exit 1
{
  flock 9
  read -r boot </proc/sys/kernel/random/boot_id
  read -r uptime rest </proc/uptime
  uptime=${uptime%%.*}
  owner= live=
  if [ -f owner ]; then
    { read -r owner; read -r owner_boot; read -r touched; read -r who; } <owner
  fi
  if [ "$owner" != "$2" ]; then
    if [ "$owner" ] && [ "$owner_boot" = "$boot" ]; then
      for lock in runs/*/*/lock; do
        if [ -f "$lock" ] && ! { flock -n -s 8; } 8<"$lock"; then live=$lock; fi
      done
      age=$((uptime - touched))
      if [ "$live" ] || { [ "$age" -ge 0 ] && [ "$age" -lt "$5" ]; }; then
        echo "held by $who"
        echo "$live"
        exit 0
      fi
    fi
    reap '^"""
    + RUN_VARIABLE
    + r"""='
    rm -rf runs/*
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
        self._held = False

    def hold(self, base: str, folder: str) -> None:
        """Take the device, or confirm that it is ours, and make a folder there.

        Raises:
            TransientDeviceError: another client had it all the time.
        """
        deadline_s = time.monotonic() + self._wait_s
        while True:
            answer = self._caller.script(_HOLD, base, self._name, self._who, folder, str(PATIENCE_S)).splitlines()
            if answer[-1:] == ["mine"]:
                self._held = True
                return
            remaining_s = deadline_s - time.monotonic()
            if remaining_s <= 0:
                raise TransientDeviceError(
                    f"{self._caller.link.description}: {(answer or ['held by somebody'])[0][:200]}; waited "
                    f"{self._wait_s:g} s: let the other client end, or try again later"
                )
            live = answer[1] if len(answer) > 1 else ""
            if live:
                # Its job is being timed: wait for it without stirring the device.
                with contextlib.suppress(RunnerError):
                    self._caller.script(_AWAIT, base, live, timeout_s=remaining_s)
            else:
                time.sleep(min(POLL_S, remaining_s))

    def release(self, base: str) -> None:
        if self._held:
            self._held = False
            self._caller.script(_RELEASE, base, self._name)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return str(os.getuid())
