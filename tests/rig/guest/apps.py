"""Android's side of an app in the rig: starts the stand-in for the benchmark app and stops it, as `am` asks.

Process 1 does it, since an app has a user of its own, whose processes adb's user may not kill.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path

PACKAGE = "org.tensorflow.lite.benchmark"
APK = Path(f"/data/app/{PACKAGE}/base.apk")
CALLS = "/run/rig/control/apps"
LOG = Path("/run/rig/log")
UID = 10123  # of Android's first user; the shell's is 2000


class Apps:
    """Waits for `am` at a socket; `select` takes it."""

    def __init__(self) -> None:
        self._pid = 0
        LOG.touch()
        LOG.chmod(0o666)  # logd's place is taken by a file
        self._calls = socket.socket(socket.AF_UNIX)
        self._calls.bind(CALLS)
        os.chmod(CALLS, 0o666)
        self._calls.listen()

    def fileno(self) -> int:
        return self._calls.fileno()

    def serve(self) -> None:
        """Do what one `am` asks, and answer it."""
        call, _ = self._calls.accept()
        with call:
            verb, *rest = json.loads(call.recv(65536))
            if verb == "start":
                call.sendall(self._start(*rest).encode())
            elif self._pid:
                os.kill(self._pid, signal.SIGKILL)

    def ended(self, pids: set[int]) -> None:
        if self._pid in pids:
            self._pid = 0

    def _start(self, args: str) -> str:
        if not APK.exists():
            return "it does not exist"
        if self._pid:
            return ""  # Android brings it to the front
        self._pid = os.fork()
        if not self._pid:
            null = os.open("/dev/null", os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(null, descriptor)
            os.setsid()
            os.setgroups([])
            os.setgid(UID)
            os.setuid(UID)
            environment = {"PATH": "/system/bin", "PYTHONHOME": "/usr"}  # of its name Python cannot tell where it lies
            os.execve("/opt/rig/python3", [PACKAGE, "/opt/rig/benchmark_app.py", args], environment)
        return ""
