"""Kinds of device, one file each: the scheme of a device spec is the file's name (`adb+usb://X` is `adb.py`).

A file defines three names:

    EXAMPLE: str | None                        a spec that works with no hardware, for the contract tests
    connect(spec: str) -> Device               raises UsageError or DeviceUnavailableError
    discover() -> list[DeviceListing]          what is there now, and what is there but cannot be used
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

from device_bench.device import Device
from device_bench.errors import UsageError
from device_bench.records import DeviceInfo, Record


class DeviceListing(Record):
    """One line of `pocketprune devices`: exactly one of `info` and `reason` is given."""

    spec: str
    info: DeviceInfo | None
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
    """Every device that can be found without being told its address."""
    return [listing for kind in known_kinds() for listing in load_kind(kind).discover()]
