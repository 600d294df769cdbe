"""Simulators, as far as a scripted `xcrun` can stand for Xcode's; real ones have their self-test."""

import json
import os
import time
from pathlib import Path
from urllib.parse import quote

import pytest

from device_bench.device import Missing
from device_bench.devices import simctl
from device_bench.errors import DeviceUnavailableError, RunnerError, TransientDeviceError, UsageError
from device_bench.records import BenchSpec
from tests.device_bench.coreml_samples import ANSWER, MODEL, XCODE, build_call, job, package, printed
from tests.device_bench.scripted_xcrun import ANY, ScriptedXcrun, scripted_xcrun

__all__ = ["scripted_xcrun"]
UDID = "7059A8C1-2B3C-4D5E-8F90-0123456789AB"
OTHER = "7059A8C1-2B3C-4D5E-8F90-BA9876543210"
IOS = "com.apple.CoreSimulator.SimRuntime.iOS-26-4"
TYPE = "com.apple.CoreSimulator.SimDeviceType.iPhone-17-Pro"
LIST = ("xcrun", "simctl", "list", "-j")
LIST_DEVICES = (*LIST, "devices")
BOOT = ("xcrun", "simctl", "boot", UDID)
BOOT_STATUS = ("xcrun", "simctl", "bootstatus", UDID, "-b")
SHUTDOWN = ("xcrun", "simctl", "shutdown", UDID)
SPAWN = ("xcrun", "simctl", "spawn", UDID, ANY, ANY, ANY)
VERSION = ("xcrun", "xcodebuild", "-version")
BUILD = build_call("iphonesimulator", "arm64-apple-ios17.0-simulator")


def listed(state: str = "Shutdown", name: str = "iPhone 17 Pro", udid: str = UDID, **more) -> str:
    device = {"udid": udid, "isAvailable": True, "deviceTypeIdentifier": TYPE, "state": state, "name": name}
    types = [{"identifier": TYPE, "name": "iPhone 17 Pro", "productFamily": "iPhone"}]
    runtime = {"identifier": IOS, "isAvailable": True, "name": "iOS 26.4", "supportedDeviceTypes": types}
    told = {"devices": {IOS: [device | more]}, "devicetypes": types, "runtimes": [runtime], "pairs": {}}
    return json.dumps(told)


def in_state(state: str) -> str:
    told = f"Unable to boot device in current state: {state}"
    return (
        f"An error was encountered processing the command (domain=com.apple.CoreSimulator.SimError, code=405):\n{told}"
    )


class Simulated:
    """A simulator's usual answers."""

    def __init__(self, script: ScriptedXcrun, path: Path) -> None:
        self.script = script
        self.path = path

    def connect(self, state: str = "Shutdown") -> simctl.SimulatorDevice:
        self.script.developer_folder()
        self.script.expect(*LIST, stdout=listed(state))
        device = simctl.connect(f"simctl://{UDID}")
        assert isinstance(device, simctl.SimulatorDevice)
        return device

    def build_and_compile(self) -> None:
        self.script.expect(*VERSION, stdout=XCODE)
        self.script.expect(*BUILD, makes="the runner")
        self.script.expect("xcrun", "coremlcompiler", "compile", str(self.path), ANY, makes="model")

    def boot(self) -> None:
        self.script.expect(*BOOT)
        self.wait_for_boot()

    def wait_for_boot(self) -> None:
        self.script.expect(*BOOT_STATUS, stdout="Monitoring boot status\nFinished\n")
        self.script.expect(*LIST_DEVICES, stdout=listed("Booted"))


@pytest.fixture
def simulated(scripted_xcrun: ScriptedXcrun, tmp_path: Path) -> Simulated:
    return Simulated(scripted_xcrun, package(tmp_path / "net.mlpackage"))


def test_it_boots_runs_and_shuts_down(simulated: Simulated):
    with simulated.connect() as device:
        device.check(simulated.path, BenchSpec())
        simulated.build_and_compile()
        simulated.boot()
        simulated.script.expect(*SPAWN, stdout=printed(), stderr="a framework grumbles", job=True)
        result = device.run(job(simulated.path))
        simulated.script.expect(*SPAWN, stdout=printed())  # nothing is built, compiled or booted again
        assert device.run(job(simulated.path)).models == result.models
        simulated.script.expect(*SHUTDOWN)
    device.close()
    assert result.runtime.name == "coreml" and result.models[0].blocks == ((1.0, 1.5, 1.25),)
    assert result.memory is not None and result.memory.peak_rss_mb == 20.0
    assert result.thermal is None and "temperature" in result.missing["thermal"]
    told = simulated.script.job()
    assert told["accelerator"] == "cpu" and told["timed_runs"] == 3 and told["timeout_s"] > 0
    (model,) = told["models"]
    assert model["path"] == str(simulated.path) and model["compiled"].endswith("/net.mlmodelc")


def test_it_says_what_it_is(simulated: Simulated):
    device = simulated.connect()
    info = device.info()
    assert (info.kind, info.model, info.os, info.abi) == ("simulator", "iPhone 17 Pro", "iOS 26.4", "arm64")
    assert info == device.info() and UDID in info.id
    power = device.power(job(simulated.path))
    assert isinstance(power, Missing) and "simulator" in power.reason


@pytest.mark.parametrize("accelerator", ["gpu", "npu", "ane"])
def test_it_has_nothing_of_an_iphones_but_the_name(simulated: Simulated, accelerator):
    with pytest.raises(UsageError, match=f"{accelerator}.* cpu only"):
        simulated.connect().check(simulated.path, BenchSpec.model_validate({"accelerator": accelerator}))


def test_one_that_ran_stays_up(simulated: Simulated):
    with simulated.connect(state="Booted") as device:
        simulated.build_and_compile()
        simulated.wait_for_boot()
        simulated.script.expect(*SPAWN, stdout=printed())
        device.run(job(simulated.path))


@pytest.mark.parametrize("state", ["Booted", "Booting"])
def test_one_that_somebody_else_boots_stays_up(simulated: Simulated, state):
    """bootstatus fails too on one that was booted meanwhile; only the state that it leaves counts."""
    with simulated.connect() as device:
        simulated.build_and_compile()
        simulated.script.expect(*BOOT, stderr=in_state(state), exit_code=149)
        simulated.script.expect(*BOOT_STATUS, stderr=in_state("Booted"), exit_code=149)
        simulated.script.expect(*LIST_DEVICES, stdout=listed("Booted"))
        simulated.script.expect(*SPAWN, stdout=printed())
        device.run(job(simulated.path))


def test_several_models_take_turns_in_one_process(simulated: Simulated):
    with simulated.connect(state="Booted") as device:
        simulated.build_and_compile()
        simulated.wait_for_boot()
        answer = {**ANSWER, "models": [MODEL, MODEL, MODEL], "plans": [None] * 3}
        simulated.script.expect(*SPAWN, stdout=printed(answer), job=True)
        result = device.run(job(simulated.path, simulated.path, simulated.path))
    assert len(result.models) == 3 and result.memory is None and "shared" in result.missing["memory"]
    assert len(simulated.script.job()["models"]) == 3


def test_one_on_its_way_down_may_be_tried_again(simulated: Simulated):
    with simulated.connect() as device:
        simulated.build_and_compile()
        simulated.script.expect(*BOOT, stderr=in_state("Shutting Down"), exit_code=149)
        with pytest.raises(TransientDeviceError, match="state is Shutting"):
            device.run(job(simulated.path))
        simulated.boot()
        simulated.script.expect(*SPAWN, stdout=printed())
        device.run(job(simulated.path))
        simulated.script.expect(*SHUTDOWN)


def test_what_a_failed_attempt_booted_is_still_ours(simulated: Simulated):
    with simulated.connect() as device:
        simulated.build_and_compile()
        simulated.script.expect(*BOOT)
        simulated.script.expect(*BOOT_STATUS, stderr="Failed to subscribe", exit_code=1)
        with pytest.raises(DeviceUnavailableError, match="bootstatus failed"):
            device.run(job(simulated.path))
        simulated.script.expect(*BOOT, stderr=in_state("Booted"), exit_code=149)
        simulated.wait_for_boot()
        simulated.script.expect(*SPAWN, stdout=printed())
        device.run(job(simulated.path))
        simulated.script.expect(*SHUTDOWN)


def test_one_that_is_shut_down_meanwhile_is_booted_again(simulated: Simulated):
    with simulated.connect(state="Booted") as device:
        simulated.build_and_compile()
        simulated.wait_for_boot()
        simulated.script.expect(*SPAWN, stderr="Unable to lookup in current state: Shutdown", exit_code=149)
        with pytest.raises(TransientDeviceError, match="was shut down"):
            device.run(job(simulated.path))
        simulated.boot()
        simulated.script.expect(*SPAWN, stdout=printed())
        device.run(job(simulated.path))
        simulated.script.expect(*SHUTDOWN)  # this boot was ours


@pytest.mark.parametrize(
    ("reply", "state", "message"),
    [
        (
            {"stderr": "Unable to boot the Simulator.", "exit_code": 1},
            None,
            r"boot failed(?s:.*)Unable to boot the Sim",
        ),
        ({}, "Shutdown", "does not boot: its state is Shutdown"),
        ({}, "Creating", "does not boot: its state is Creating"),
    ],
)
def test_one_that_does_not_boot_is_not_available_and_is_shut_down(simulated: Simulated, reply, state, message):
    with simulated.connect() as device:
        simulated.build_and_compile()
        simulated.script.expect(*BOOT, **reply)
        if state is not None:
            simulated.script.expect(*BOOT_STATUS)
            simulated.script.expect(*LIST_DEVICES, stdout=listed(state))
        with pytest.raises(DeviceUnavailableError, match=message) as caught:
            device.run(job(simulated.path))
        assert caught.value.exit_code == 3 and not isinstance(caught.value, TransientDeviceError)
        told = "Unable to shutdown device in current state: Shutdown"
        simulated.script.expect(*SHUTDOWN, stderr=told, exit_code=149)


def test_one_that_hangs_while_booting_is_shut_down(simulated: Simulated, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(simctl, "BOOT_S", 0.5)
    with simulated.connect() as device:
        simulated.build_and_compile()
        simulated.script.expect(*BOOT, hangs="silent")
        with pytest.raises(DeviceUnavailableError, match=r"`xcrun simctl boot` took longer than 0\.5 s"):
            device.run(job(simulated.path))
        simulated.script.expect(*SHUTDOWN)
    os.kill(simulated.script.left_running(), 9)


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ({"stdout": "hello"}, r"net\.mlpackage: the runner ended without a result;.*\n  hello"),
        (
            {"exit_code": 139, "stderr": "Child process terminated with signal 11: Segmentation fault"},
            r"ended by SIGSEGV \(a damaged model file\?\);.*\n.*signal 11",
        ),
        ({"stdout": "POCKETPRUNE-RESULT {"}, "cannot be read"),
    ],
)
def test_a_runner_that_fails_is_an_error_with_its_last_output(simulated: Simulated, reply, message):
    with simulated.connect() as device:
        simulated.build_and_compile()
        simulated.boot()
        simulated.script.expect(*SPAWN, **reply)
        with pytest.raises(RunnerError, match=message):
            device.run(job(simulated.path))
        simulated.script.expect(*SHUTDOWN)


def is_running(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(("how", "error"), [("silent", RunnerError), ("interrupted", KeyboardInterrupt)])
def test_what_hangs_in_the_simulator_is_ended_with_it(simulated: Simulated, how, error):
    """Ending simctl does not end what it started; the runner's process is one of this machine, and is known."""
    with pytest.raises(error), simulated.connect() as device:
        simulated.build_and_compile()
        simulated.boot()
        simulated.script.expect(*SPAWN, hangs=how, job=True)
        simulated.script.expect(*SHUTDOWN)
        device.run(job(simulated.path).model_copy(update={"timeout_s": 2.0 if how == "silent" else 30.0}))
    deadline_s = time.monotonic() + 5
    while is_running(simulated.script.left_running()) and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert not is_running(simulated.script.left_running())


def test_an_interrupted_boot_is_undone(simulated: Simulated):
    with pytest.raises(KeyboardInterrupt), simulated.connect() as device:
        simulated.build_and_compile()
        simulated.script.expect(*BOOT, hangs="interrupted")
        simulated.script.expect(*SHUTDOWN)
        device.run(job(simulated.path))
    os.kill(simulated.script.left_running(), 9)


def test_a_fault_at_the_end_is_told_and_loses_nothing(simulated: Simulated, caplog: pytest.LogCaptureFixture):
    with simulated.connect() as device:
        simulated.build_and_compile()
        simulated.boot()
        simulated.script.expect(*SPAWN, stdout=printed())
        assert device.run(job(simulated.path)).models
        simulated.script.expect(*SHUTDOWN, stderr="CoreSimulatorService connection became invalid", exit_code=1)
    assert "became invalid" in caplog.text and f"xcrun simctl shutdown {UDID}" in caplog.text


def new_simulator(script: ScriptedXcrun) -> simctl.SimulatorDevice:
    script.developer_folder()
    script.expect(*LIST, stdout=listed(name="somebody's"))
    device = simctl.connect("simctl://iPhone%2017%20Pro")
    assert isinstance(device, simctl.SimulatorDevice)
    return device


def test_a_new_one_is_created_and_deleted(simulated: Simulated):
    with new_simulator(simulated.script) as device:
        before = device.info()
        assert (before.model, before.os, before.id) == ("iPhone 17 Pro", "iOS 26.4", "simctl-iPhone_17_Pro-iOS_26.4")
        simulated.build_and_compile()
        simulated.script.expect("xcrun", "simctl", "create", ANY, TYPE, IOS, stdout=f"{UDID}\n")
        simulated.boot()
        simulated.script.expect(*SPAWN, stdout=printed())
        device.run(job(simulated.path))
        assert device.info() == before
        simulated.script.expect(*SHUTDOWN)
        simulated.script.expect("xcrun", "simctl", "delete", UDID)
    device.close()


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        ({"stderr": "Invalid runtime: gone", "exit_code": 164}, DeviceUnavailableError),
        ({"stdout": "good morning\n"}, DeviceUnavailableError),
        ({"hangs": "interrupted"}, KeyboardInterrupt),
    ],
)
def test_a_creation_that_fails_leaves_no_simulator(simulated: Simulated, reply, error):
    """Its name is known before it exists, and simctl takes a name as well."""
    with pytest.raises(error), new_simulator(simulated.script) as device:
        simulated.build_and_compile()
        simulated.script.expect("xcrun", "simctl", "create", ANY, TYPE, IOS, **reply)
        simulated.script.expect("xcrun", "simctl", "delete", ANY, stderr="Invalid device", exit_code=164)
        device.run(job(simulated.path))
    if "hangs" in reply:
        os.kill(simulated.script.left_running(), 9)


@pytest.mark.parametrize("name", ["Großer “Test”", "a b; $(reboot) 'x'", "日本\nライン", "100%", "a/b?c#d"])
def test_any_name_arrives_as_it_is(scripted_xcrun: ScriptedXcrun, name):
    scripted_xcrun.developer_folder()
    scripted_xcrun.expect(*LIST, stdout=listed(name=name))
    assert simctl.connect(f"simctl://{quote(name, safe='')}").info().model == name


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("simctl://", "name the simulator"),
        ("simctl", "name the simulator"),
        ("simctl://%FF", "no percent-encoded UTF-8"),
    ],
)
def test_a_spec_that_names_nothing(spec, message):
    with pytest.raises(UsageError, match=message):
        simctl.connect(spec)


@pytest.mark.parametrize(
    "reply", [{"stdout": "{"}, {"stdout": '{"devices": 1}'}, {"exit_code": 72, "stderr": "no simctl"}]
)
def test_a_list_that_is_none(scripted_xcrun: ScriptedXcrun, reply):
    for arguments in (LIST, LIST_DEVICES):
        scripted_xcrun.developer_folder()
        scripted_xcrun.expect(*arguments, **reply)
    with pytest.raises(DeviceUnavailableError, match="simctl list"):
        simctl.connect(f"simctl://{UDID}")
    (listing,) = simctl.discover()
    assert listing.info is None and "simctl list" in (listing.reason or "")


def test_all_are_listed_the_unusable_with_the_reason(scripted_xcrun: ScriptedXcrun):
    told = json.loads(listed(name="Größe 17"))
    error = 'runtime profile not found using "System" match policy'
    told["devices"]["com.apple.CoreSimulator.SimRuntime.iOS-18-2"] = [
        {"udid": OTHER, "isAvailable": False, "availabilityError": error, "state": "Shutdown", "name": "iPhone 15"}
    ]
    told["devices"]["com.apple.CoreSimulator.SimRuntime.watchOS-26-4"] = [
        {"udid": "W", "isAvailable": True, "state": "Shutdown", "name": "Apple Watch"}
    ]
    scripted_xcrun.developer_folder()
    scripted_xcrun.expect(*LIST_DEVICES, stdout=json.dumps(told))
    usable, unusable = simctl.discover()
    assert usable.spec == f"simctl://{UDID}" and usable.info is not None and usable.info.model == "Größe 17"
    assert unusable.spec == f"simctl://{OTHER}" and unusable.info is None
    assert unusable.reason == f"iPhone 15 (iOS 18.2): {error}"


def test_without_a_mac_nothing_is_listed_and_the_error_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert simctl.discover() == []
    with pytest.raises(DeviceUnavailableError, match=r"need macOS with Xcode") as caught:
        simctl.connect("simctl://iPhone%2017")
    assert caught.value.exit_code == 3


def test_a_mac_without_xcode_is_listed_with_what_to_install(scripted_xcrun: ScriptedXcrun):
    scripted_xcrun.developer_folder("/Library/Developer/CommandLineTools")
    (listing,) = simctl.discover()
    assert listing.spec == "simctl://" and "App Store" in (listing.reason or "")
