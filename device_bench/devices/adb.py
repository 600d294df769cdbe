"""Android phones and Linux boards that speak adb: `adb://HOST:PORT`, `adb+usb://SERIAL`, `adb+server://SERIAL`."""

from __future__ import annotations

import contextlib
import os
import socket
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote, unquote

from device_bench.adb import open_link
from device_bench.adb.choose import RUNNERS, DeviceRunner, choose_runner, what_to_install
from device_bench.adb.connection import AdbConnection
from device_bench.adb.identity import identify
from device_bench.adb.sampling import DetachedSampling
from device_bench.adb.trials import adb_trials
from device_bench.device import Device, Job, JobResult, Missing
from device_bench.devices import DISCOVERY_S, DeviceListing, ask_all, silent
from device_bench.errors import DeviceBenchError, DeviceUnavailableError, UsageError
from device_bench.known_devices import known_devices
from device_bench.load import SustainedLoad, watched
from device_bench.modelfile import check_tflite
from device_bench.probes import others
from device_bench.probes.battery import LoadRun
from device_bench.probes.power_pass import measure_power, power_unavailable
from device_bench.probes.state import DeviceState, read_state
from device_bench.probes.throttle import thermal_between
from device_bench.readiness import Gatekeeper, rejections
from device_bench.records import BenchSpec, DeviceInfo, OpTime, PowerUse, Readiness, ThermalState
from device_bench.trials import Trial

EXAMPLE = None
"""There is hardware to every spec; the contract tests use the rig's."""


def connect(spec: str) -> Device:
    address, runner = _split(spec)
    return AdbDevice(AdbConnection(open_link(address)), runner)


def _split(spec: str) -> tuple[str, str | None]:
    """The address without percent-encoding, and the runner that `?runner=` asks for.

    Raises:
        UsageError: no such runner, or something else after the `?`.
    """
    scheme, _, name = spec.partition("://")
    name, question, query = name.partition("?")
    runner = query.removeprefix("runner=") if question else None
    if runner is not None and (runner not in RUNNERS or runner == query):
        known = ", ".join(f"?runner={name}" for name in RUNNERS)
        raise UsageError(f"device {spec!r}: it may end in {known}; a `?` in a name is written %3F")
    return f"{scheme}://{unquote(name)}", runner


def discover() -> list[DeviceListing]:
    """The devices of a running adb server and those of `devices.yaml`, each asked in a thread of its own."""
    attached = _attached()
    usable = [f"adb+server://{quote(serial, safe=':')}" for serial, state in attached.items() if state == "device"]
    unusable = [
        DeviceListing(spec=f"adb+server://{quote(serial, safe=':')}", info=None, reason=_remedy(state))
        for serial, state in attached.items()
        if state != "device"
    ]
    named = [spec for scheme in ("adb", "adb+usb", "adb+server") for spec in known_devices(scheme)]
    specs = list(dict.fromkeys([*usable, *named]))
    return ask_all([(spec, partial(_look, spec)) for spec in specs], DISCOVERY_S, silent) + unusable


def _attached() -> dict[str, str]:
    """Serials and states of what a running adb server knows; adbutils is loaded only where there is one."""
    address = os.environ.get("ANDROID_ADB_SERVER_HOST", "127.0.0.1"), os.environ.get("ANDROID_ADB_SERVER_PORT", "5037")
    try:
        socket.create_connection(address, timeout=DISCOVERY_S / 5).close()
    except OSError:
        return {}
    from device_bench.adb.server import server_devices

    return dict(server_devices())


def _remedy(state: str) -> str:
    remedies = {
        "unauthorized": 'unlock it and answer "Allow USB debugging?" with yes',
        "offline": "plug it in again, or restart its adbd",
        "no permissions": "the adb server may not use this USB device; see its udev rules",
    }
    return f"{state}: {remedies.get(state, 'the adb server cannot use it')}"


def _look(spec: str) -> DeviceListing:
    """What `pocketprune devices` says of one device; leaves nothing there."""
    try:
        address, runner = _split(spec)
        with contextlib.closing(_connect_quickly(address)) as connection:
            identity = identify(connection)
            state = read_state(connection)
            choice = choose_runner(connection, identity, runner)
    except DeviceBenchError as error:
        return DeviceListing(spec=spec, info=None, reason=str(error).removeprefix(f"{spec.partition('?')[0]}: "))
    hottest_c = max(state.temperatures_c.values(), default=None)
    return DeviceListing(
        spec=spec,
        info=identity.info,
        battery_percent=None if state.battery_percent is None else round(state.battery_percent),
        temperature_c=state.battery_c if state.battery_c is not None else hottest_c,
        runner=choice.name if choice else None,
    )


def _connect_quickly(address: str) -> AdbConnection:
    return AdbConnection(open_link(address, connect_s=DISCOVERY_S / 2, auth_s=DISCOVERY_S / 2))


class AdbDevice(Device):
    """A phone or a board behind adb.

    Args:
        connection: is closed with this.
        runner: which of `RUNNERS` to use; None takes the first that the device has.

    Raises:
        DeviceUnavailableError: what answers is no device that we know how to use, or it lacks that runner.
    """

    def __init__(self, connection: AdbConnection, runner: str | None = None) -> None:
        self._connection = connection
        connection.on_ended = lambda name, text: self.observer.said(name, text)
        self._gate = Gatekeeper(connection, tell=lambda text: self.observer.doing(text))
        self._readiness = Readiness()
        try:
            self._identity = identify(connection)
            self._choice = choose_runner(connection, self._identity, runner)
        except BaseException:
            connection.close()
            raise
        if self._choice is not None:
            self.accelerators, self.delegates = self._choice.accelerators, self._choice.delegates

    def info(self) -> DeviceInfo:
        return self._identity.info

    def check(self, model_path: Path, spec: BenchSpec) -> None:
        check_tflite(model_path)
        if self._choice is None:
            raise DeviceUnavailableError(
                f"{self._connection.description}: {what_to_install(self._connection, self._identity)}"
            )
        self.check_accelerator(spec)
        cpus = self._identity.cpus
        if spec.affinity is not None and cpus is not None and not set(spec.affinity) <= set(cpus):
            have = ", ".join(map(str, cpus))
            raise UsageError(f"affinity {list(spec.affinity)}: pick from the CPUs that there are ({have})")

    def prepare(self, readiness: Readiness) -> None:
        self._readiness = readiness
        with self._connection.run_folder():  # nobody else measures while we switch its screen
            try:
                self._gate.make_ready(readiness)
            except DeviceUnavailableError as error:
                raise type(error)(f"{self._connection.description}: {error}") from error

    def run(self, job: Job) -> JobResult:
        watch = StateWatch(self._connection)
        with self._connection.run_folder() as folder:
            result = self._runner.run(job, folder, around=watch)
        thermal = thermal_between(watch.before, watch.after)
        missing = {name: reason for name, reason in result.missing.items() if name != "thermal"}
        if isinstance(thermal, Missing):
            missing["thermal"] = thermal.reason
        return result.model_copy(
            update={
                "thermal": thermal if isinstance(thermal, ThermalState) else None,
                "missing": missing,
                "rejections": (
                    *result.rejections,
                    *others.rejections(result.cpu_shares, self._readiness),
                    *rejections(self._readiness, watch.after),
                ),
            }
        )

    def power_unavailable(self) -> str | None:
        return power_unavailable(self._connection)

    def power(self, job: Job) -> PowerUse | Missing:
        with self._connection.run_folder() as folder:

            def load(seconds: float) -> LoadRun:
                return self._runner.load(job, folder, seconds)

            start = partial(DetachedSampling, self._connection, folder)
            return measure_power(self._connection, start, load, self.info().id, tell=self.observer.doing)

    def sustain(self, job: Job) -> SustainedLoad:
        with self._connection.run_folder() as folder:
            start = partial(DetachedSampling, self._connection, folder)
            return watched(start, lambda: self._runner.sustain(job, folder), job)

    def ops(self, job: Job) -> tuple[OpTime, ...] | Missing:
        with self._connection.run_folder() as folder:
            return self._runner.ops(job, folder)

    def trials(self) -> tuple[Trial, ...]:
        return adb_trials(self._connection)

    def close(self) -> None:
        with contextlib.suppress(DeviceBenchError):  # a device that is gone has no screen to switch back
            self._gate.restore()
        self._connection.close()

    @cached_property
    def _runner(self) -> DeviceRunner:
        assert self._choice is not None, "check() comes first"
        return self._choice.make()


class StateWatch:
    """Reads the device's state directly before and directly after something, and nothing in between."""

    before = after = DeviceState()

    def __init__(self, connection: AdbConnection) -> None:
        self._connection = connection

    def __enter__(self) -> Self:
        self.before = read_state(self._connection)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.after = read_state(self._connection)
