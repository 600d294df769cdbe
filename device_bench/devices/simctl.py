"""An iOS simulator on this Mac, through `xcrun simctl`. Spec: `simctl://UDID-or-NAME`, the name percent-encoded.

A name that no simulator has, but that is a type of device (`simctl://iPhone%2017`), gives a new simulator under the
newest runtime; it is deleted at the end. One that was shut down is booted, and shut down again; one that ran stays up.

Its processes run on the Mac's own processor and see the Mac's files: latency and memory are the Mac's, and of an
iPhone's power, heat, GPU and neural engine a simulator says nothing.
"""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import re
import signal
import uuid
from pathlib import Path
from urllib.parse import unquote

from device_bench.coreml import RUNNER, CoreMLDevice, RunnerOutput, target
from device_bench.device import Device, Missing
from device_bench.devices import DISCOVERY_S, DeviceListing
from device_bench.devices.host import host_info
from device_bench.errors import DeviceBenchError, DeviceUnavailableError, RunnerError, TransientDeviceError, UsageError
from device_bench.process import last_lines, output_of, run_to_end
from device_bench.records import DeviceInfo, ThermalState
from device_bench.simulators import NewSimulator, Simulator, find, read_catalogue
from device_bench.trials import Evidence, Trial
from device_bench.xcode import Xcode, is_mac, must, tool_environment, unavailable, xcrun

EXAMPLE = None
SCHEME = "simctl://"
SYSTEM = "ios17.0-simulator"
LIST_S = 60.0
BOOT_S = 300.0
END_S = 60.0
UDID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
NOT_THE_PHONES = "a simulator runs on the Mac's processor: it has no {} of its own"
log = logging.getLogger(__name__)


def connect(spec: str) -> Device:
    try:
        name = unquote(spec.removeprefix(SCHEME), errors="strict")
    except UnicodeDecodeError as error:
        raise UsageError(f"device {spec!r}: its name is no percent-encoded UTF-8; encode it anew") from error
    if not spec.startswith(SCHEME) or not name:
        raise UsageError(f"device {spec!r}: name the simulator; write simctl://UDID or simctl://NAME")
    xcode = Xcode()
    return SimulatorDevice(find(read_catalogue(must("simctl", "list", "-j", timeout_s=LIST_S)), name), xcode)


def discover() -> list[DeviceListing]:
    if not is_mac():
        return []
    reason = unavailable()
    if reason is None:
        try:
            listed = must("simctl", "list", "-j", "devices", timeout_s=DISCOVERY_S)
            return [_listing(simulator) for simulator in read_catalogue(listed).simulators()]
        except DeviceUnavailableError as error:
            reason = str(error)
    return [DeviceListing(spec=SCHEME, info=None, reason=reason)]


def _listing(simulator: Simulator) -> DeviceListing:
    spec = f"{SCHEME}{simulator.udid}"
    if simulator.reason is not None:
        reason = f"{simulator.name} ({simulator.system}): {simulator.reason}"
        return DeviceListing(spec=spec, info=None, reason=reason)
    return DeviceListing(spec=spec, info=_info(simulator), runner=RUNNER)


def _info(simulator: Simulator | NewSimulator) -> DeviceInfo:
    if isinstance(simulator, Simulator):
        identity = simulator.udid
    else:  # it gets a new UDID each time, and is the same device for all that
        identity = "-".join(re.sub(r"[^\w.]+", "_", word) for word in (simulator.name, simulator.system))
    return DeviceInfo(
        id=f"simctl-{identity}",
        kind="simulator",
        model=simulator.name,
        os=simulator.system,
        abi=platform.machine(),
        soc=host_info().model,
    )


class SimulatorDevice(CoreMLDevice):
    """A simulator, created or booted when the first job needs it."""

    def __init__(self, simulator: Simulator | NewSimulator, xcode: Xcode) -> None:
        super().__init__(xcode)
        self._simulator = simulator
        self._udid = simulator.udid if isinstance(simulator, Simulator) else None
        self._created: str | None = None
        """The name of the simulator that is to be deleted at the end."""
        self._is_up = False
        self._found_booted = isinstance(simulator, Simulator) and simulator.state == "Booted"
        self._shut_down_at_end = False

    def info(self) -> DeviceInfo:
        return _info(self._simulator)

    def power_unavailable(self) -> str:
        return NOT_THE_PHONES.format("battery")

    def trials(self) -> tuple[Trial, ...]:
        return (*super().trials(), Trial("the simulator boots", self._try_boot))

    def close(self) -> None:
        """Shut down what was booted and delete what was created here; what fails is said, and left."""
        self._is_up = False
        if self._shut_down_at_end and self._udid is not None:
            self._shut_down_at_end = False
            _end("shutdown", self._udid, "current state: Shutdown")
        if self._created is not None:
            name, self._created = self._created, None
            _end("delete", self._udid or name, "Invalid device")
            self._udid = None

    def _runner(self) -> Path:
        return self._xcode.runner("iphonesimulator", target(SYSTEM))

    def _thermal(self, output: RunnerOutput) -> ThermalState | Missing:
        return Missing(reason=NOT_THE_PHONES.format("temperature"))

    def _launch(self, runner: Path, folder: Path, timeout_s: float) -> tuple[str, str]:
        udid = self._ready()
        pid_file = folder / "pid"
        argv = ["xcrun", "simctl", "spawn", udid, str(runner), str(folder / "job.json"), str(pid_file)]
        try:
            ended = run_to_end("the runner", argv, timeout_s, tool_environment())
        except BaseException:  # Ctrl-C included: ending simctl does not end what it started in the simulator
            _kill(pid_file)
            raise
        if ended.exit_code and "current state: Shut" in ended.stderr:
            self._is_up = False
            raise TransientDeviceError(f"simulator {udid} was shut down{last_lines(ended.stdout, ended.stderr)}")
        return output_of("the runner", ended)

    def _ready(self) -> str:
        """The UDID of the simulator, which exists and is booted."""
        if isinstance(self._simulator, NewSimulator) and self._udid is None:
            # The name is noted before it exists, so that an interrupt leaves nothing behind.
            self._created = f"Pocketprune {self._simulator.name} {uuid.uuid4().hex[:8]}"
            wanted = (self._created, self._simulator.device_type, self._simulator.runtime)
            told = must("simctl", "create", *wanted, timeout_s=LIST_S)
            if not UDID.fullmatch(told.strip()):
                raise DeviceUnavailableError(f"`xcrun simctl create` gave no UDID{last_lines(told, '')}")
            self._udid = told.strip()
        assert self._udid is not None
        if not self._is_up:
            self._boot(self._udid)
        return self._udid

    def _boot(self, udid: str) -> None:
        """
        Raises:
            TransientDeviceError: it is on its way up or down.
            DeviceUnavailableError: it does not boot.
        """
        if not self._found_booted:
            ours_already = self._shut_down_at_end  # from an attempt that got no further
            self._shut_down_at_end = True  # noted before, so that an interrupt leaves nothing running
            if "current state: Boot" in self._ask("boot", udid) and not ours_already:
                self._shut_down_at_end = False  # somebody else was faster: it is theirs
        self._found_booted = False
        # bootstatus waits until the system is up. Its exit code says little: it fails on one that was booted
        # meanwhile (bazelbuild/rules_apple#2597), so the state that it leaves behind is looked at.
        told = self._ask("bootstatus", udid, "-b")
        state = read_catalogue(must("simctl", "list", "-j", "devices", timeout_s=LIST_S)).state(udid)
        if state != "Booted":
            raise DeviceUnavailableError(f"simulator {udid} does not boot: its state is {state}{last_lines(told, '')}")
        self._is_up = True

    def _ask(self, verb: str, udid: str, *options: str) -> str:
        """Ask simctl for something that may be so already; what it says."""
        try:
            ended = xcrun("simctl", verb, udid, *options, timeout_s=BOOT_S)
        except RunnerError as error:
            raise DeviceUnavailableError(f"simulator {udid}: {error}") from error
        state = re.search(r"current state: (\w+)", ended.stderr)
        if ended.exit_code and state and state[1] not in ("Booted", "Booting"):
            raise TransientDeviceError(f"simulator {udid}: {verb} failed, since its state is {state[1]}")
        if ended.exit_code and not state:
            told = last_lines(ended.stdout, ended.stderr)
            raise DeviceUnavailableError(f"simulator {udid}: {verb} failed{told}")
        return ended.stdout + ended.stderr

    def _try_boot(self, evidence: Evidence) -> str:
        udid = self._ready()
        evidence.keep("simctl-list.json", must("simctl", "list", "-j", timeout_s=LIST_S))
        return udid


def _end(verb: str, udid: str, done_already: str) -> None:
    """Shut a simulator down, or delete it; a fault is no reason to lose a measurement, and is told."""
    try:
        ended = xcrun("simctl", verb, udid, timeout_s=END_S)
        fault = last_lines(ended.stdout, ended.stderr) if ended.exit_code else ""
    except DeviceBenchError as error:
        fault = f": {error}"
    if fault and done_already not in fault:
        log.warning("simulator %s: %s failed%s\n  run `xcrun simctl %s %s`", udid, verb, fault, verb, udid)


def _kill(pid_file: Path) -> None:
    """End our runner in the simulator, whose processes are processes of the Mac."""
    with contextlib.suppress(OSError, ValueError):
        pid = int(pid_file.read_text())
        if pid > 1:
            os.kill(pid, signal.SIGKILL)
