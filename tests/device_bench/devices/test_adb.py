"""Whole measurements over real adb, on boards and on phones' personalities; faults are in test_adb_faults."""

import time
from pathlib import Path

import pytest

import device_bench
from device_bench import known_devices, selftest
from device_bench.device import Job, JobModel, Missing
from device_bench.devices import list_devices, open_device
from device_bench.errors import DeviceUnavailableError, UsageError
from device_bench.op_match import is_one_piece
from device_bench.probes import battery, power_pass, rails
from device_bench.records import BenchSpec, PowerUse, Readiness
from device_bench.sidecar import read_sidecar
from tests.busy_machine import ANY_LOAD
from tests.device_bench.golden import with_golden
from tests.rig.device import RigDevice

QUICK = BenchSpec(warmup_runs=2, timed_runs=10, min_seconds=0.1, readiness=ANY_LOAD)


@pytest.fixture(scope="session")
def model(tiny_tflite: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with golden inputs, whose name would like to be executed."""
    return with_golden(tiny_tflite, tmp_path_factory.mktemp("models") / "a b;$(touch oops)'\"\n.tflite")


def clean(device: RigDevice) -> bool:
    """Nothing of ours runs there, and nothing but the cache stays."""
    ours = [path for path in device.files(f"{device.storage}/pocketprune") if not path.startswith(("cache", "tools"))]
    return device.processes() == [] and not [path for path in ours if path.startswith(("runs/", "incoming/"))]


def ready(**changes: object) -> BenchSpec:
    return QUICK.model_copy(update={"readiness": ANY_LOAD.model_copy(update=changes)})


def bench(model: Path, device: RigDevice, spec: BenchSpec = QUICK):
    return device_bench.benchmark(model, device.spec, spec, power=False)


def test_a_board_is_measured_by_our_runner(rig_device: RigDevice, model: Path):
    measured = bench(model, rig_device)
    assert measured.valid, measured.rejections
    assert (measured.device.kind, measured.runtime.runner) == ("container", "litert_runner.py")
    assert measured.latency_ms.n >= QUICK.timed_runs and measured.latency_ms.samples
    assert measured.memory and measured.memory.peak_rss_mb > measured.memory.model_mb > 0
    assert measured.delegate and measured.delegate.nodes_delegated == measured.delegate.nodes_total
    assert measured.artifact.path == str(model)
    assert clean(rig_device) and rig_device.shell(["find", "/", "-xdev", "-name", "oops"]).stdout == ""


def test_operations_are_timed_on_a_board_and_told_by_a_phones_tool(rig_device: RigDevice, tiny_tflite: Path):
    measured = device_bench.benchmark(tiny_tflite, rig_device.spec, QUICK, power=False, ops=True)
    assert measured.ops and len([op for op in measured.ops if op.type.startswith("Convolution")]) == 2
    assert clean(rig_device)
    rig_device.personality("pixel")
    told = device_bench.benchmark(tiny_tflite, rig_device.spec, QUICK, power=False, ops=True)
    assert told.ops and is_one_piece(told.ops)  # all that this tool sees of XNNPACK


def test_a_phone_is_measured_by_the_official_tool(rig_device: RigDevice, model: Path):
    rig_device.personality("pixel")
    measured = bench(model, rig_device, QUICK.model_copy(update={"processes": 3}))
    assert measured.valid, measured.rejections
    assert measured.runtime.runner == "benchmark_model" and measured.device.os.startswith("Android")
    assert measured.latency_ms.samples is None and "samples" in measured.missing["latency_ms.samples"]
    assert measured.latency_ms.median > 0 and measured.latency_ms.ci95 and len(measured.latency_ms.processes) == 3
    assert measured.memory and measured.ops and measured.thermal and measured.thermal.throttled is False
    assert clean(rig_device)


def test_an_old_tool_is_asked_for_single_inferences(rig_device: RigDevice, model: Path):
    rig_device.personality("pixel")
    rig_device.give_benchmark_model("old")
    measured = bench(model, rig_device)
    assert measured.latency_ms.samples and measured.latency_ms.n == len(measured.latency_ms.samples)
    assert measured.latency_ms.median > 0


@pytest.mark.parametrize("build", ["tflite", "current", "litert"])
def test_every_build_of_the_tool(rig_device: RigDevice, model: Path, build: str):
    rig_device.personality("pixel")
    rig_device.give_benchmark_model(build)
    measured = bench(model, rig_device)
    assert measured.valid, measured.rejections
    assert measured.latency_ms.median > 0


def test_a_fast_wrong_answer_is_no_measurement(rig_device: RigDevice, model: Path):
    rig_device.personality("pixel")
    rig_device.give_benchmark_model(fault="wrong")
    measured = bench(model, rig_device)
    assert not measured.valid and any("wrong answer" in reason for reason in measured.rejections)


def test_a_delegate_that_took_nothing_makes_it_invalid(rig_device: RigDevice, model: Path):
    rig_device.personality("pixel")
    measured = bench(model, rig_device, QUICK.model_copy(update={"accelerator": "gpu"}))
    assert not measured.valid and any("not delegated" in reason for reason in measured.rejections)


def test_without_a_runner_it_says_what_to_install(rig_device: RigDevice, model: Path):
    rig_device.personality("pixel")
    rig_device.take_tools()
    with pytest.raises(DeviceUnavailableError, match=r"fetch-tools --abi arm64-v8a.*tools/benchmark_model"):
        bench(model, rig_device)


def test_what_the_device_lacks_is_refused_before_it_starts(rig_device: RigDevice, model: Path):
    with pytest.raises(UsageError, match="accelerator 'gpu'"):
        bench(model, rig_device, QUICK.model_copy(update={"accelerator": "gpu"}))
    with pytest.raises(UsageError, match="pick from the CPUs"):
        bench(model, rig_device, QUICK.model_copy(update={"affinity": (4000,)}))
    assert bench(model, rig_device, QUICK.model_copy(update={"affinity": (0,)})).valid


def test_a_comparison_takes_turns_on_boards_and_phones(rig_device: RigDevice, model: Path, wide_tflite: Path):
    for personality in ("board", "pixel"):
        rig_device.personality(personality)
        result = device_bench.compare([model, wide_tflite], rig_device.spec, QUICK)
        (comparison,) = result.comparisons
        assert comparison.ratio > 1.5 and comparison.verdict == "slower", personality


def test_a_phone_that_is_not_ready(rig_device: RigDevice, model: Path):
    rig_device.personality("lowbattery")
    with pytest.raises(DeviceUnavailableError, match=r"adb://.*: battery at .* at least 20 %"):
        bench(model, rig_device)
    assert bench(model, rig_device, ready(min_battery_percent=0)).valid


def test_a_hot_phone_is_waited_for(rig_device: RigDevice, model: Path):
    rig_device.personality("hot")
    impatient = ready(wait_s=0.0)
    with pytest.raises(DeviceUnavailableError, match=r"C after 0 s of waiting: at most 40 C is wanted"):
        bench(model, rig_device, impatient)
    measured = bench(model, rig_device)
    assert measured.valid and measured.thermal.start_c <= 40.0


def wakefulness(device: RigDevice, expected: str) -> bool:
    """Whether it comes to that within three seconds: a key takes its time."""
    deadline_s = time.monotonic() + 3
    while f"mWakefulness={expected}" not in device.shell(["/system/bin/dumpsys", "power"]).stdout:
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.05)
    return True


def test_the_screen_is_switched_and_switched_back(rig_device: RigDevice, model: Path):
    rig_device.personality("pixel")
    assert wakefulness(rig_device, "Asleep")
    with open_device(rig_device.spec) as device:
        device.prepare(Readiness(screen="on"))
        assert wakefulness(rig_device, "Awake")
    assert wakefulness(rig_device, "Asleep")
    assert bench(model, rig_device, ready(screen="on")).valid


def test_a_throttled_phone_is_rejected(rig_device: RigDevice, model: Path):
    rig_device.personality("throttling")
    measured = bench(model, rig_device, QUICK.model_copy(update={"min_seconds": 4.0, "max_processes": 1}))
    assert measured.thermal.throttled is True and "throttled" in measured.rejections


@pytest.fixture
def short_power_pass(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Real meters lag; the rig's do not, so that seconds do where a phone needs a minute."""
    monkeypatch.setattr(power_pass, "IDLE_S", 5.0)
    monkeypatch.setattr(power_pass, "LOAD_S", 12.0)
    monkeypatch.setattr(battery, "SETTLE_S", 0.5)
    monkeypatch.setattr(rails, "SETTLE_S", 0.5, raising=False)
    monkeypatch.setattr(rails, "INTERVAL_S", 1)
    monkeypatch.setattr(battery, "MIN_WINDOW_S", 0.5)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


@pytest.mark.parametrize("personality", ["pixel", "milliamp"])
def test_power(rig_device: RigDevice, model: Path, short_power_pass: None, personality: str):
    rig_device.personality(personality)
    with open_device(rig_device.spec) as device:
        device.check(model, QUICK)
        used = device.power(Job.of(QUICK, (JobModel(path=model),)))
    assert isinstance(used, PowerUse), used.reason
    assert used.energy_per_inference_mj > 0 and used.mean_mw > used.idle_mw
    assert clean(rig_device)


@pytest.mark.parametrize("personality", ["charging", "frozen", "unreadable", "board"])
def test_power_that_cannot_be_had_has_a_reason(
    rig_device: RigDevice, model: Path, short_power_pass: None, personality: str
):
    rig_device.personality(personality)
    measured = device_bench.benchmark(model, rig_device.spec, QUICK)
    assert measured.valid and measured.power is None and len(measured.missing["power"]) > 20
    with open_device(rig_device.spec) as device:
        known = device.power_unavailable()
    assert known == (None if personality == "unreadable" else measured.missing["power"])


def test_devices_are_listed_within_three_seconds_with_a_dead_one_among_them(
    rig_pair: tuple[RigDevice, RigDevice], tmp_path: Path, monkeypatch
):
    alive, dead = rig_pair
    alive.personality("pixel")
    dead.link_down()
    (tmp_path / "devices.yaml").write_text(f"devices: ['{alive.spec}', '{dead.spec}']")
    monkeypatch.setenv(known_devices.VARIABLE, str(tmp_path / "devices.yaml"))
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", "1")
    listed = {listing.spec: listing for listing in list_devices()}
    phone = listed[alive.spec]
    assert phone.info and phone.info.model == "Google Pixel 8" and phone.runner == "benchmark_model"
    assert (phone.battery_percent, phone.temperature_c is not None) == (75, True)
    assert "timed out" in listed[dead.spec].reason
    assert not [path for path in alive.files(f"{alive.storage}/pocketprune") if not path.startswith("tools")]


def test_selftest_of_a_phone(rig_device: RigDevice, model: Path, tmp_path: Path):
    rig_device.personality("pixel")
    result = selftest.selftest(rig_device.spec, [model], tmp_path / "b.zip", power=False)
    assert result.passed, [trial for trial in result.trials if trial.outcome == "failed"]
    assert clean(rig_device)


def test_golden_is_really_there(model: Path):
    sidecar = read_sidecar(model)
    assert sidecar and sidecar.golden and not isinstance(sidecar.golden, Missing)
