"""Which iOS simulators there are, from `xcrun simctl list -j`, and which of them a name means."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from device_bench.errors import DeviceUnavailableError, UsageError
from device_bench.process import last_lines
from device_bench.records import Record

OLDEST_IOS = (17, 0)
"""What the runner is built for."""
RUNTIME = re.compile(r"com\.apple\.CoreSimulator\.SimRuntime\.([A-Za-z]+)-(\d+)-(\d+)(?:-\d+)*")
TYPE_PREFIX = "com.apple.CoreSimulator.SimDeviceType."
LISTED_NAMES = 30


class Simulator(Record):
    udid: str
    name: str
    system: str
    """Such as "iOS 26.4"."""
    state: str
    reason: str | None
    """Why it cannot be used; None where it can."""


class NewSimulator(Record):
    """One that is not there yet, and that `simctl create` would make."""

    name: str
    device_type: str
    runtime: str
    system: str


class _Told(BaseModel):
    """What simctl says; it says more than is needed here, and more with each Xcode."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class _Device(_Told):
    udid: str
    name: str
    state: str = "unknown"
    is_available: bool = Field(default=True, alias="isAvailable")
    error: str | None = Field(default=None, alias="availabilityError")


class _Type(_Told):
    identifier: str
    name: str


class _Runtime(_Told):
    identifier: str
    is_available: bool = Field(default=True, alias="isAvailable")
    types: tuple[_Type, ...] = Field(default=(), alias="supportedDeviceTypes")


class Catalogue(_Told):
    """The answer of `simctl list -j`, whole or the part `devices` of it."""

    devices: dict[str, tuple[_Device, ...]]
    runtimes: tuple[_Runtime, ...] = ()
    types: tuple[_Type, ...] = Field(default=(), alias="devicetypes")

    def simulators(self) -> list[Simulator]:
        """Those of iPhones and iPads; watches, televisions and headsets are left out."""
        ios = [(runtime, device) for runtime, devices in self.devices.items() for device in devices]
        return [_simulator(runtime, device) for runtime, device in ios if "SimRuntime.iOS-" in runtime]

    def state(self, udid: str) -> str:
        """Such as "Booted" or "Shutdown"; "gone" where it is not listed."""
        found = (device for devices in self.devices.values() for device in devices if device.udid == udid)
        return next((device.state for device in found), "gone")


def read_catalogue(text: str) -> Catalogue:
    """
    Raises:
        DeviceUnavailableError: it is none.
    """
    try:
        told: Any = json.loads(text)
        return Catalogue.model_validate(told)
    except (ValueError, RecursionError, ValidationError) as error:
        raise DeviceUnavailableError(
            f"`xcrun simctl list -j` gave no list of simulators ({type(error).__name__}){last_lines(text, '')}"
        ) from error


def find(catalogue: Catalogue, name: str) -> Simulator | NewSimulator:
    """The simulator of this UDID or name, or a new one where it names a type of device that simulators can be made of.

    Raises:
        UsageError: several have the name, or it cannot be run here.
        DeviceUnavailableError: there is none, or none that can be used; the text says which there are.
    """
    simulators = catalogue.simulators()
    meant = [simulator for simulator in simulators if simulator.udid.casefold() == name.casefold()]
    meant = meant or [simulator for simulator in simulators if _same_name(simulator.name, name)]
    usable = [simulator for simulator in meant if simulator.reason is None]
    if len(usable) == 1:
        return usable[0]
    if usable:
        which = "; ".join(f"simctl://{simulator.udid} ({simulator.system})" for simulator in usable)
        raise UsageError(f"simulator {name!r}: {len(usable)} have this name; name one by its UDID: {which}")
    if meant:
        why = "; ".join(f"{simulator.udid} ({simulator.system}): {simulator.reason}" for simulator in meant)
        raise DeviceUnavailableError(f"simulator {name!r} cannot be used: {why}")
    made = _new(catalogue, name)
    if made is None:
        names = dict.fromkeys(simulator.name for simulator in simulators if simulator.reason is None)
        there = ", ".join(list(names)[:LISTED_NAMES]) or "none; `xcodebuild -downloadPlatform iOS` brings some"
        raise DeviceUnavailableError(f"simulator {name!r}: not there, and no type of device; there are: {there}")
    return made


def _new(catalogue: Catalogue, name: str) -> NewSimulator | None:
    """A new simulator of the named type under the newest runtime that has it; None where it is no type."""
    runtimes = [(version, runtime) for runtime in catalogue.runtimes if (version := _ios_version(runtime.identifier))]
    known = {type_.identifier: type_ for type_ in catalogue.types}
    known |= {type_.identifier: type_ for _, runtime in runtimes for type_ in runtime.types}
    type_ = next((type_ for type_ in known.values() if _same_name(type_.name, name) or type_.identifier == name), None)
    if type_ is None:
        return None
    fitting = [
        (version, runtime.identifier)
        for version, runtime in runtimes
        if runtime.is_available
        and version >= OLDEST_IOS
        and (not runtime.types or type_.identifier in {supported.identifier for supported in runtime.types})
    ]
    if not fitting:
        raise DeviceUnavailableError(
            f"simulator {name!r}: no iOS runtime from {_spell(OLDEST_IOS)} on is installed for it; "
            "`xcodebuild -downloadPlatform iOS` brings the newest"
        )
    version, runtime = max(fitting)
    return NewSimulator(name=type_.name, device_type=type_.identifier, runtime=runtime, system=_spell(version))


def _simulator(runtime: str, device: _Device) -> Simulator:
    version = _ios_version(runtime)
    reason = None
    if not device.is_available or device.error:
        reason = device.error or "simctl calls it unavailable"
    elif version is None or version < OLDEST_IOS:
        reason = f"its system is too old for the runner: {_spell(OLDEST_IOS)} or later is needed"
    system = _spell(version) if version else runtime.rpartition(".")[2]
    return Simulator(udid=device.udid, name=device.name, system=system, state=device.state, reason=reason)


def _ios_version(runtime: str) -> tuple[int, int] | None:
    match = RUNTIME.fullmatch(runtime)
    return (int(match[2]), int(match[3])) if match and match[1] == "iOS" else None


def _spell(version: tuple[int, int]) -> str:
    return f"iOS {version[0]}.{version[1]}"


def _same_name(one: str, other: str) -> bool:
    """Names are compared as people read them: an accented letter may be written as one character or as two."""
    return unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other)
