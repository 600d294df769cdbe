"""Moments of a measurement on a device of the rig, what may go wrong then, and what must be right afterwards."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from device_bench.records import BenchSpec, Measurement
from pipeline.cli import main
from tests.busy_machine import ANY_LOAD
from tests.rig.device import RigDevice

QUICK = BenchSpec(warmup_runs=2, timed_runs=10, min_seconds=0.05, readiness=ANY_LOAD)
MODEL_BYTES = 3 * 2**20
"""Of the fixture `large_model`."""
MOMENT_S = 20.0


# --- moments


def pushing(device: RigDevice) -> bool:
    """The model is on its way: some of it has arrived."""
    return any(2**18 < size < MODEL_BYTES for size in incoming_bytes(device))


def incoming_bytes(device: RigDevice) -> Iterator[int]:
    for path in (device.root / device.storage.lstrip("/") / "pocketprune/incoming").glob("*"):
        with contextlib.suppress(OSError):
            yield path.stat().st_size


def running(device: RigDevice) -> bool:
    return bool(runner_pids(device))


def runner_pids(device: RigDevice) -> list[int]:
    """Of the runner itself, seen from here, once it has loaded LiteRT."""
    found = []
    namespace = os.readlink(f"/proc/{device._init_pid}/ns/pid")
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.readlink(folder / "ns/pid") == namespace and "_pywrap" in (folder / "maps").read_text():
                found.append(int(folder.name))
    return found


def wait_for(condition: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + MOMENT_S
    while not condition():
        assert time.monotonic() < deadline_s, "its moment never came"
        time.sleep(0.02)


# --- strikes


def short_cut(device: RigDevice) -> None:
    """Shorter than TCP's patience."""
    device.link_down()
    time.sleep(0.7)
    device.link_up()


def long_cut(device: RigDevice) -> None:
    """Until the client has noticed."""
    device.link_down()
    wait_for(lambda: not connected(device))
    device.link_up()


def connected(device: RigDevice) -> bool:
    """Is there an open connection from here? The kernel writes an address as a hexadecimal number in its own order."""
    address = f"{int.from_bytes(socket.inet_aton(device.host), 'little'):08X}:{device.port:04X}"
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(row[2] == address and row[3] == "01" for row in rows)


def signal_runner(number: signal.Signals) -> Callable[[RigDevice], None]:
    def strike(device: RigDevice) -> None:
        for pid in runner_pids(device):
            os.kill(pid, number)

    return strike


def fill_up(device: RigDevice) -> None:
    device.fill_storage(leave_bytes=0)


def at_once(device: RigDevice) -> bool:
    return True


def nothing(device: RigDevice) -> None:
    pass


def plays(fault: str) -> Callable[[RigDevice], None]:
    return lambda device: device.give_benchmark_model(fault=fault) and None


def mend_tool(device: RigDevice) -> None:
    device.give_benchmark_model()


# --- afterwards


def right(measured: Measurement) -> None:
    """Valid: the golden answers are right, too."""
    assert measured.valid, measured.rejections
    assert measured.latency_ms.n >= 10 and measured.latency_ms.median > 0


def clean(device: RigDevice) -> bool:
    """Nothing of ours runs there, and nothing but the cache and the tools is left (and the empty file of a lock)."""
    wait_for(lambda: device.processes() == [])  # what waited for a job of a lost link ends after the job
    left = device.files(f"{device.storage}/pocketprune")
    extra = [path for path in left if not path.startswith(("cache", "tools"))]
    assert extra == ["incoming", "mutex", "runs"]
    return True


def command(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--runs", "10", "--min-seconds", "0.05", "--processes", "1"])
    return ended.value.code or 0
