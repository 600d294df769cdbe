"""What every kind of device must do; a new file in device_bench/devices/ is picked up by itself."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_bench.device import Device, Job, JobModel
from device_bench.devices import DeviceListing, known_kinds, list_devices, load_kind, open_device
from device_bench.errors import UsageError
from device_bench.records import BenchSpec
from tests.device_bench.tiny_models import tiny_tflite

__all__ = ["tiny_tflite"]

QUICK = BenchSpec(warmup_runs=1, timed_runs=5, min_seconds=0.0)


@pytest.fixture(params=known_kinds())
def device(request: pytest.FixtureRequest):
    spec = load_kind(request.param).EXAMPLE
    if request.param == "adb":
        spec = request.getfixturevalue("rig_device").spec
    if spec is None:
        pytest.skip(f"needs macOS: {request.param}")
    with open_device(spec) as opened:
        yield opened


@pytest.mark.parametrize("kind", known_kinds())
def test_a_kind_defines_the_three_names(kind):
    module = load_kind(kind)
    assert module.EXAMPLE is None or module.EXAMPLE.partition("://")[0].partition("+")[0] == kind
    for listing in module.discover():
        assert isinstance(listing, DeviceListing)
        assert (listing.info is None) != (listing.reason is None)


def test_it_says_the_same_about_itself_each_time(device: Device):
    info = device.info()
    assert info == device.info()
    assert all((info.id, info.model, info.os, info.abi))


def test_a_job_comes_back_whole(device: Device, tiny_tflite: Path):
    device.check(tiny_tflite, QUICK)
    result = device.run(Job.of(QUICK, (JobModel(path=tiny_tflite),)))
    (run,) = result.models
    assert sum(map(len, run.blocks)) >= QUICK.timed_runs
    assert run.wall_s >= 0.999 * sum(map(sum, run.blocks)) / 1e3
    for name in ("memory", "thermal"):
        assert (getattr(result, name) is None) == (name in result.missing)
    assert (run.delegate is None) == ("delegate" in run.missing)


def test_models_of_one_job_take_turns(device: Device, tiny_tflite: Path):
    model = JobModel(path=tiny_tflite)
    result = device.run(Job.of(QUICK, (model, model, model)))
    rounds = {len(run.blocks) for run in result.models}
    assert len(result.models) == 3 and len(rounds) == 1
    assert rounds.pop() >= QUICK.timed_runs
    assert result.memory is None and "memory" in result.missing


def test_it_refuses_before_it_starts(device: Device, tiny_tflite: Path, tmp_path: Path):
    with pytest.raises(UsageError, match=r"missing\.tflite"):
        device.check(tmp_path / "missing.tflite", QUICK)
    for accelerator in {"cpu", "gpu", "npu", "ane"} - set(device.accelerators):
        with pytest.raises(UsageError, match=accelerator):
            device.check(tiny_tflite, BenchSpec.model_validate({"accelerator": accelerator}))


def test_power_is_a_figure_or_a_reason(device: Device, tiny_tflite: Path):
    power = device.power(Job.of(QUICK, (JobModel(path=tiny_tflite),)))
    assert getattr(power, "reason", "") or getattr(power, "method", "")
    known = device.power_unavailable()
    assert known is None or getattr(power, "reason", "") == known


def test_times_of_operations_are_those_of_an_inference_or_a_reason(device: Device, tiny_tflite: Path):
    job = Job.of(QUICK, (JobModel(path=tiny_tflite),))
    device.check(tiny_tflite, QUICK)
    ops = device.ops(job)
    assert getattr(ops, "reason", "") or sum(op.share for op in ops) <= 1.01


def test_closing_twice_is_harmless(device: Device):
    device.close()
    device.close()
    assert device.info().kind in {"host", "fake", "container", "simulator"}


@given(st.text(max_size=30))
def test_an_unknown_kind_lists_the_known_ones(text):
    if text.partition("://")[0].partition("+")[0] in known_kinds():
        return
    with pytest.raises(UsageError) as caught:
        open_device(text)
    assert all(kind in str(caught.value) for kind in known_kinds())


def test_the_host_is_always_found():
    assert "host" in [listing.spec for listing in list_devices()]
