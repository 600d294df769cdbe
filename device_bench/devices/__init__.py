"""Kinds of device, one file each: the scheme of a device spec is the file's name (`adb+usb://X` is `adb.py`).

A file defines three names:

    EXAMPLE: str | None                        a spec that works with no hardware, for the contract tests
    connect(spec: str) -> Device               raises UsageError or DeviceUnavailableError
    discover() -> list[DeviceListing]          what is there now, and what is there but cannot be used
"""

from __future__ import annotations

import importlib
import pkgutil
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from device_bench.device import Device
from device_bench.errors import UsageError
from device_bench.records import DeviceInfo, Record

DISCOVERY_S = 2.5
"""How long a device may take to answer when all are listed."""


class DeviceListing(Record):
    """One line of `pocketprune devices`: exactly one of `info` and `reason` is given."""

    spec: str
    info: DeviceInfo | None
    battery_percent: int | None = None
    temperature_c: float | None = None
    """Of the battery where there is one, else of the hottest zone."""
    runner: str | None = None
    """What would run a model there; None where nothing can."""
    reason: str | None = None
    """Why the device cannot be used."""


def known_kinds() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load_kind(name: str) -> Any:
    return importlib.import_module(f"{__name__}.{name}")


def open_device(spec: str) -> Device:
    """Connect to the device that a spec such as `host` or `fake://NAME` names.

    Raises:
        UsageError: no such kind of device, or a spec that this kind cannot read.
        DeviceUnavailableError: the device is not there.
    """
    scheme = spec.partition("://")[0]
    kind = scheme.partition("+")[0]
    if kind not in known_kinds():
        raise UsageError(
            f"device {spec!r}: {scheme!r} is no kind of device known here; "
            f"known: {', '.join(known_kinds())}; write `host` or KIND://NAME"
        )
    device: Device = load_kind(kind).connect(spec)
    return device


def list_devices() -> list[DeviceListing]:
    """Every device that can be reached: found by asking around, or named in `devices.yaml`; all are asked at once.

    Raises:
        UsageError: `devices.yaml` is no list of devices.
    """
    asked = [(f"{kind}://", load_kind(kind).discover) for kind in known_kinds()]
    # A kind that asks many devices at once keeps the limit for each of them itself; this one is for its own hang.
    return [listing for found in ask_all(asked, DISCOVERY_S + 0.3, _silent_kind) for listing in found]


def _silent_kind(spec: str) -> list[DeviceListing]:
    return [silent(spec)]


def silent(spec: str) -> DeviceListing:
    return DeviceListing(spec=spec, info=None, reason=f"no answer within {DISCOVERY_S:g} s")


def ask_all[T](
    questions: Sequence[tuple[str, Callable[[], T]]], timeout_s: float, on_silence: Callable[[str], T]
) -> list[T]:
    """The answers to all questions, asked at the same time; `on_silence(name)` stands for one that is late.

    A thread that hangs is left behind (it ends with the program), so that one dead device cannot hold up the others.
    """
    answers: dict[int, T] = {}
    faults: dict[int, BaseException] = {}

    def ask(i: int, question: Callable[[], T]) -> None:
        try:
            answers[i] = question()
        except BaseException as error:
            faults[i] = error

    threads = [
        threading.Thread(target=ask, args=(i, question), name=f"ask {name}", daemon=True)
        for i, (name, question) in enumerate(questions)
    ]
    for thread in threads:
        thread.start()
    deadline_s = time.monotonic() + timeout_s
    for thread in threads:
        thread.join(max(0.0, deadline_s - time.monotonic()))
    for fault in faults.values():
        raise fault
    return [answers[i] if i in answers else on_silence(name) for i, (name, _) in enumerate(questions)]
