"""Whole measurements by the benchmark app, on the rig's phone with the stand-in for it."""

from pathlib import Path

import pytest

import device_bench
from device_bench import known_devices
from device_bench.device import Job, JobModel
from device_bench.devices import list_devices, open_device
from device_bench.devices.adb import connect
from device_bench.errors import DeviceUnavailableError, RunnerError, UsageError
from device_bench.records import BenchSpec
from tests.busy_machine import ANY_LOAD
from tests.device_bench.golden import with_golden
from tests.rig.device import RigDevice

QUICK = BenchSpec(warmup_runs=2, timed_runs=10, min_seconds=0.1, readiness=ANY_LOAD)


@pytest.fixture
def phone(rig_device: RigDevice) -> RigDevice:
    """A phone with the app, and without any other runner."""
    rig_device.personality("pixel")
    rig_device.take_tools()
    rig_device.install_benchmark_app()
    return rig_device


def bench(model: Path, device: RigDevice, spec: BenchSpec = QUICK, runner: str = ""):
    return device_bench.benchmark(model, device.spec + runner, spec, power=False)


def clean(device: RigDevice) -> bool:
    """Nothing runs there, the app neither, and nothing of the run stays."""
    return device.processes() == [] and device.files(f"{device.storage}/pocketprune/runs") == []


def test_a_phone_is_measured_by_the_app(phone: RigDevice, tiny_tflite: Path):
    measured = bench(tiny_tflite, phone, QUICK.model_copy(update={"processes": 2}))
    assert measured.valid, measured.rejections
    assert measured.runtime.runner == "benchmark_app"
    assert measured.runtime.version == f"benchmark_app {measured.runtime.runner_sha256[:8]}"
    assert measured.latency_ms.median > 0 and len(measured.latency_ms.processes) == 2
    assert measured.init_ms > 0 and measured.first_ms > 0
    assert measured.delegate and measured.delegate.nodes_delegated == measured.delegate.nodes_total
    assert measured.memory and measured.memory.peak_rss_mb > measured.memory.model_mb > 0
    assert "PSS" in measured.memory.method
    assert "log cuts" in measured.missing["ops"]
    assert clean(phone)


def test_what_the_app_computes_is_not_known(phone: RigDevice, tiny_tflite: Path, tmp_path: Path):
    measured = bench(with_golden(tiny_tflite, tmp_path / "golden.tflite"), phone)
    assert measured.valid and "its answers are not checked" in measured.missing["golden_error"]


def test_a_comparison_takes_turns(phone: RigDevice, tiny_tflite: Path, wide_tflite: Path):
    result = device_bench.compare([tiny_tflite, wide_tflite], phone.spec, QUICK)
    assert result.comparisons[0].ratio > 1.5 and result.comparisons[0].verdict == "slower"
    assert clean(phone)


def test_a_delegate_that_took_nothing_makes_it_invalid(phone: RigDevice, tiny_tflite: Path):
    measured = bench(tiny_tflite, phone, QUICK.model_copy(update={"accelerator": "gpu"}))
    assert not measured.valid and any("not delegated" in reason for reason in measured.rejections)


def test_an_old_build_is_asked_for_single_inferences(phone: RigDevice, tiny_tflite: Path):
    phone.install_benchmark_app("tflite")
    measured = bench(tiny_tflite, phone)
    assert measured.latency_ms.samples and measured.latency_ms.n == QUICK.timed_runs


def test_a_load_for_a_power_meter(phone: RigDevice, tiny_tflite: Path):
    with open_device(phone.spec) as device:
        job = Job.of(QUICK, (JobModel(path=tiny_tflite),))
        with device._connection.run_folder() as folder:
            load = device._runner.load(job, folder, 1.5)
    assert 1.2 < load.busy_s <= load.end_s - load.start_s + 0.01 and load.inferences > 100
    assert clean(phone)


def test_an_app_that_crashes_is_an_error_and_is_stopped(phone: RigDevice, tiny_tflite: Path):
    phone.install_benchmark_app(fault="segv")
    with pytest.raises(RunnerError, match="SIGSEGV"):
        bench(tiny_tflite, phone)
    assert clean(phone)
    phone.install_benchmark_app()
    assert bench(tiny_tflite, phone).valid


@pytest.mark.parametrize("fault", ["hang", "dies"])
def test_an_app_that_says_no_more_is_stopped_when_its_time_is_up(phone: RigDevice, tiny_tflite: Path, fault: str):
    phone.install_benchmark_app(fault=fault)
    job = Job.of(QUICK, (JobModel(path=tiny_tflite),)).model_copy(update={"timeout_s": 4.0})
    with open_device(phone.spec) as device, pytest.raises(RunnerError, match="took longer than 4 s") as caught:
        device.run(job)
    assert "Loaded model" in str(caught.value), "the end of its log helps"
    assert clean(phone)


def test_a_file_that_the_app_refuses_is_the_users(phone: RigDevice, tiny_tflite: Path, tmp_path: Path):
    damaged = tmp_path / "damaged.tflite"
    damaged.write_bytes(tiny_tflite.read_bytes()[:2000])
    job = Job.of(QUICK, (JobModel(path=damaged),))
    with open_device(phone.spec) as device, pytest.raises((UsageError, RunnerError), match=r"damaged\.tflite"):
        device.run(job)
    assert clean(phone)


def test_an_app_that_was_left_running_is_stopped_first(phone: RigDevice, tiny_tflite: Path):
    phone.install_benchmark_app(fault="hang")
    activity = "org.tensorflow.lite.benchmark/.BenchmarkModelActivity"
    phone.shell(["/system/bin/am", "start", "-n", activity, "--es", "args", "--graph=x"])
    assert phone.processes() != []
    phone.install_benchmark_app()
    assert bench(tiny_tflite, phone).valid and clean(phone)


def test_cpus_cannot_be_chosen_for_an_app(phone: RigDevice, tiny_tflite: Path):
    with pytest.raises(UsageError, match=r"an app cannot be pinned.*\?runner=tool"):
        bench(tiny_tflite, phone, QUICK.model_copy(update={"affinity": (0,)}))


def test_the_tool_comes_before_the_app_unless_the_spec_says_otherwise(phone: RigDevice, tiny_tflite: Path):
    phone.give_benchmark_model()
    assert bench(tiny_tflite, phone).runtime.runner == "benchmark_model"
    assert bench(tiny_tflite, phone, runner="?runner=tool").runtime.runner == "benchmark_model"
    assert bench(tiny_tflite, phone, runner="?runner=app").runtime.runner == "benchmark_app"


def test_a_runner_that_the_device_lacks(phone: RigDevice, rig_pair: tuple[RigDevice, RigDevice]):
    board = rig_pair[1]
    for device, runner, remedy in [
        (phone, "tool", "fetch-tools"),
        (phone, "litert", "pip"),
        (board, "app", "adb inst"),
    ]:
        with pytest.raises(DeviceUnavailableError, match=f"lacks the runner '{runner}': .*{remedy}"):
            open_device(f"{device.spec}?runner={runner}")
    with open_device(f"{board.spec}?runner=litert") as device:
        assert device.delegates == ("xnnpack",)


def test_the_listing_shows_the_runner_that_was_chosen(phone: RigDevice, tmp_path: Path, monkeypatch):
    phone.give_benchmark_model()
    specs = [phone.spec, f"{phone.spec}?runner=app", f"{phone.spec}?runner=litert"]
    (tmp_path / "devices.yaml").write_text(f"devices: {specs}")
    monkeypatch.setenv(known_devices.VARIABLE, str(tmp_path / "devices.yaml"))
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", "1")
    listed = {listing.spec: listing for listing in list_devices()}
    assert [listed[spec].runner for spec in specs] == ["benchmark_model", "benchmark_app", None]
    assert listed[specs[2]].reason.startswith("the device lacks the runner 'litert'")


@pytest.mark.parametrize("query", ["?runner=gpu", "?runner=", "?app", "?", "?x=1", "?runner=app&x=1"])
def test_what_follows_the_question_mark_is_a_runner(query: str):
    with pytest.raises(UsageError, match=r"\?runner=litert, \?runner=tool, \?runner=app.*%3F"):
        connect(f"adb://127.0.0.1:1{query}")
