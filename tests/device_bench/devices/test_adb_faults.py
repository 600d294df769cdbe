"""Whatever breaks while a device is measured: the right error, tried again if that helps, nothing left, the next right.

Every fault strikes when it is seen that its moment has come: while a file grows on the device, or its job runs.
"""

from __future__ import annotations

import contextlib
import functools
import signal
import socketserver
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

import device_bench
from device_bench import sitting
from device_bench.adb import caller, open_link, transport
from device_bench.adb.connection import AdbConnection
from device_bench.device import Job
from device_bench.devices import adb as adb_devices
from device_bench.errors import DeviceBenchError, DeviceUnavailableError, RunnerError, TransientDeviceError
from device_bench.records import BenchSpec
from device_bench.runners import litert_remote
from tests.busy_machine import ANY_LOAD
from tests.device_bench.devices.garbling import Garbler
from tests.device_bench.devices.rig_faults import (
    QUICK,
    at_once,
    clean,
    command,
    fill_up,
    long_cut,
    mend_tool,
    nothing,
    plays,
    pushing,
    right,
    running,
    short_cut,
    signal_runner,
    wait_for,
)
from tests.rig.device import RigDevice

SPEC = BenchSpec(warmup_runs=2, timed_runs=10, min_seconds=1.0, readiness=ANY_LOAD)
CONNECT_S = 1.3  # a lost packet is sent again after 1 s


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same waits as in use, shorter."""
    for name, value in (("IDLE_S", 1), ("INTERVAL_S", 1), ("PROBES", 2)):
        monkeypatch.setattr(transport, f"KEEPALIVE_{name}", value)
    monkeypatch.setattr(transport, "USER_TIMEOUT_MS", 1500)
    monkeypatch.setattr(caller, "RECONNECT_S", 1.6)
    monkeypatch.setattr(sitting, "RETRY_AFTER_S", 0.1)
    monkeypatch.setattr(adb_devices, "open_link", functools.partial(open_link, connect_s=CONNECT_S))


@dataclass
class Counts:
    attempts: int = 0
    jobs: int = 0


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counts:
    """How often a measurement was tried, and how many jobs were started for it."""
    found = Counts()
    run, start = adb_devices.AdbDevice.run, AdbConnection.start

    def counted_run(self, job):
        found.attempts += 1
        return run(self, job)

    def counted_start(self, *arguments, **options):
        found.jobs += 1
        return start(self, *arguments, **options)

    monkeypatch.setattr(adb_devices.AdbDevice, "run", counted_run)
    monkeypatch.setattr(AdbConnection, "start", counted_start)
    return found


@dataclass(frozen=True)
class Fault:
    moment: Callable[[RigDevice], bool]
    strike: Callable[[RigDevice], object]
    attempts: int = 1
    error: type[DeviceBenchError] | None = None
    says: str = ""
    jobs: int | None = None
    mend: Callable[[RigDevice], object] = nothing
    personality: str = "board"
    delay_ms: float = 0.0


SLOW = {"moment": pushing, "delay_ms": 5.0}
"""A push that takes a second or two."""
GONE = {"attempts": sitting.ATTEMPTS, "error": TransientDeviceError, "says": "tried 3 times", "mend": RigDevice.link_up}
FULL = {"error": DeviceUnavailableError, "says": r"storage is full: .* MB free", "mend": RigDevice.free_storage}
PIXEL = {"moment": at_once, "personality": "pixel", "mend": mend_tool, "error": RunnerError}
HANGS = r"took longer than \S+ s and was killed"

FAULTS = {
    "link down for a moment in mid-push": Fault(**SLOW, strike=short_cut, jobs=1),
    "link lost in mid-push": Fault(**SLOW, strike=long_cut, attempts=2, jobs=1),
    "link down for good in mid-push": Fault(**SLOW, **GONE, strike=RigDevice.link_down, jobs=0),
    "link down for a moment in mid-run": Fault(running, short_cut, jobs=1),
    "link lost in mid-run": Fault(running, long_cut, jobs=1),
    "link down for good in mid-run": Fault(running, RigDevice.link_down, **GONE, jobs=1),
    "adbd killed in mid-push": Fault(**SLOW, strike=RigDevice.kill_adbd, attempts=2, jobs=1),
    "adbd killed in mid-run": Fault(running, RigDevice.kill_adbd, jobs=1),
    "adbd killed while the official tool runs": Fault(running, RigDevice.kill_adbd, personality="pixel"),
    "storage full before": Fault(at_once, RigDevice.fill_storage, **FULL, jobs=0),
    "storage filled by another in mid-push": Fault(pushing, fill_up, **FULL, jobs=0, delay_ms=25.0),
    "rebooted in mid-push": Fault(**SLOW, strike=RigDevice.reboot, attempts=2, jobs=1),
    "rebooted in mid-run": Fault(running, RigDevice.reboot, attempts=2, jobs=2),
    "the runner crashes": Fault(running, signal_runner(signal.SIGSEGV), error=RunnerError, says="SIGSEGV", jobs=1),
    "the runner hangs": Fault(running, signal_runner(signal.SIGSTOP), error=RunnerError, says=HANGS, jobs=1),
    "the official tool crashes": Fault(**PIXEL, strike=plays("segv"), says="SIGSEGV"),
    "the official tool hangs": Fault(**PIXEL, strike=plays("hang"), says=HANGS),
    "the official tool prints garbage": Fault(**PIXEL, strike=plays("garbage"), says="without a measurement"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_fault(
    rig_device: RigDevice, large_model: Path, counts: Counts, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    fault = FAULTS[name]
    if fault.personality != "board":
        rig_device.personality(fault.personality)
    if fault.delay_ms:
        rig_device.netem(delay_ms=fault.delay_ms)
    if fault.says == HANGS:
        limit_job(monkeypatch, 2.5)
    with contextlib.ExitStack() as stack:
        if fault.moment is at_once:
            fault.strike(rig_device)
        else:
            stack.enter_context(striking(rig_device, fault))
        if fault.error is None:
            right(device_bench.benchmark(large_model, rig_device.spec, SPEC, power=False))
        else:
            with pytest.raises(fault.error, match=fault.says) as caught:
                device_bench.benchmark(large_model, rig_device.spec, SPEC, power=False)
            assert isinstance(caught.value, TransientDeviceError) == (fault.error is TransientDeviceError)
            assert caught.value.exit_code == 3
            assert str(large_model) in str(caught.value) or rig_device.spec in str(caught.value)
    assert counts.attempts == fault.attempts
    assert fault.jobs is None or counts.jobs == fault.jobs
    if fault.error is None:
        assert clean(rig_device)
    fault.mend(rig_device)
    right(device_bench.benchmark(large_model, rig_device.spec, QUICK, power=False))
    assert clean(rig_device)


@contextlib.contextmanager
def striking(device: RigDevice, fault: Fault) -> Iterator[None]:
    """Another thread waits for the moment, and strikes."""

    def act() -> None:
        wait_for(lambda: fault.moment(device))
        fault.strike(device)

    with ThreadPoolExecutor(1) as pool:
        struck = pool.submit(act)
        yield
        struck.result()


def limit_job(monkeypatch: pytest.MonkeyPatch, timeout_s: float) -> None:
    of = Job.of
    short = classmethod(lambda cls, *given, **named: of(*given, **named).model_copy(update={"timeout_s": timeout_s}))
    monkeypatch.setattr(Job, "of", short)
    monkeypatch.setattr(litert_remote, "MARGIN_S", 0.0)


# --- links that are bad, or no adb at all


def test_a_slow_and_lossy_link(rig_device: RigDevice, large_model: Path, counts: Counts) -> None:
    rig_device.netem(delay_ms=50, loss_percent=1)
    right(device_bench.benchmark(large_model, rig_device.spec, QUICK, power=False))
    assert counts.attempts == 1
    assert clean(rig_device)


@pytest.mark.parametrize("moment", [pushing, running])
def test_noise_on_the_link(
    rig_device: RigDevice, large_model: Path, counts: Counts, moment: Callable[[RigDevice], bool]
) -> None:
    rig_device.netem(delay_ms=5.0)
    with Garbler(rig_device.host, rig_device.port) as cable:
        noise = Fault(moment, lambda device: cable.garble())
        with striking(rig_device, noise):
            right(device_bench.benchmark(large_model, cable.spec, SPEC, power=False))
    assert (counts.attempts, counts.jobs) == (2 if moment is pushing else 1, 1)
    assert clean(rig_device)


class Babbler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        with contextlib.suppress(OSError):
            self.request.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 10)
            while self.request.recv(4096):
                pass


def test_a_port_that_speaks_something_else(large_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socketserver.TCPServer(("127.0.0.1", 0), Babbler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        spec = f"adb://127.0.0.1:{server.server_address[1]}"
        with pytest.raises(TransientDeviceError, match="does not speak adb"):
            device_bench.benchmark(large_model, spec, QUICK)
        assert command("bench", str(large_model), "--device", spec) == 3
        assert f"error: {spec}: what answers there does not speak adb" in capsys.readouterr().err
        server.shutdown()


@pytest.mark.parametrize(("name", "models", "fault"), [("bench", 1, "hang"), ("compare", 2, "garbage")])
def test_a_runner_s_fault_is_exit_code_3(
    rig_device: RigDevice, large_model: Path, monkeypatch: pytest.MonkeyPatch, name: str, models: int, fault: str
) -> None:
    rig_device.personality("pixel")
    rig_device.give_benchmark_model(fault=fault)
    limit_job(monkeypatch, 2.0)
    assert command(name, *[str(large_model)] * models, "--device", rig_device.spec) == 3
    assert clean(rig_device)
