"""Process 1 of a device: keeps adbd running as Android's init does, reaps orphans, and plays the sensors.

Ends, and the device with it, when its standard input ends: then whoever switched the device on is gone.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any

import sensors
from apps import Apps

SETTINGS = Path("/opt/rig/settings.json")
DEVICE = Path("/opt/rig/device.json")  # where a phone differs from the others
RESTART_S = 0.3
TICK_S = 0.1


def start_adbd(settings: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    null = os.open("/dev/null", os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.setsid()
    if user := settings.get("uid"):
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
    os.chdir("/")
    os.execve("/usr/sbin/adbd", ["adbd"], {"HOME": "/", "PATH": settings["path"], "TERM": "dumb"})


def read_settings() -> dict[str, Any]:
    settings: dict[str, Any] = json.loads(SETTINGS.read_text())
    if DEVICE.exists():
        settings["sensors"] |= json.loads(DEVICE.read_text())
    return settings


def watch_signals() -> int:
    """What can be read from when a child has ended."""
    for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)  # what Python ignores or catches, every process here would inherit
    child_ended, wake = os.pipe()
    for descriptor in (0, child_ended, wake):
        os.set_blocking(descriptor, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    return child_ended


def main() -> None:
    settings = read_settings()
    child_ended = watch_signals()
    player = sensors.Sensors(settings["sensors"]) if "sensors" in settings else None
    if player:
        player.tick(time.monotonic(), ours={1})  # nobody is to find a phone without its sensors
    apps = Apps() if player else None
    awaited = [0, child_ended, *filter(None, [apps])]
    adbd = start_adbd(settings)
    while True:
        # Without sensors to play it sleeps until something happens: nobody's timing is disturbed.
        ready, _, _ = select.select(awaited, [], [], TICK_S if player else None)
        if 0 in ready and os.read(0, 4096) == b"":
            sys.exit()
        if child_ended in ready:
            os.read(child_ended, 4096)
            ended = reap()
            if apps:
                apps.ended(ended)
            if adbd in ended:
                time.sleep(RESTART_S)
                adbd = start_adbd(settings)
        if apps and apps in ready:
            apps.serve()
        if player:
            player.tick(time.monotonic(), ours={1, adbd})


def reap() -> set[int]:
    """Collect what has ended; orphans come to process 1."""
    ended = set()
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if not pid:
            return ended
        ended.add(pid)


if __name__ == "__main__":
    main()
