from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_bench.device import Job, JobModel, Missing
from device_bench.devices import open_device
from device_bench.devices.fake import FakeDevice, Script
from device_bench.errors import DeviceUnavailableError, TransientDeviceError, UsageError
from device_bench.records import BenchSpec, PowerUse


@given(st.lists(st.integers(1, 10_000), min_size=2, max_size=8, unique=True), st.floats(0.1, 100))
def test_a_smaller_file_is_faster(tmp_path_factory, sizes, ms_per_mb):
    folder = tmp_path_factory.mktemp("models")
    models = []
    for size in sizes:
        models.append(JobModel(path=folder / f"{size}"))
        models[-1].path.write_bytes(b"x" * size)
    result = FakeDevice("lab", Script(ms_per_mb=ms_per_mb)).run(Job.of(BenchSpec(timed_runs=2), tuple(models)))
    latencies = {size: run.blocks[0][0] for size, run in zip(sizes, result.models, strict=True)}
    assert sorted(sizes) == sorted(sizes, key=latencies.__getitem__)
    assert latencies[max(sizes)] == pytest.approx(max(sizes) / 2**20 * ms_per_mb)


def test_it_fails_as_often_as_it_was_told(tmp_path: Path):
    path = tmp_path / "model"
    path.write_bytes(b"x")
    job = Job.of(BenchSpec(timed_runs=1), (JobModel(path=path),))
    with open_device("fake://flaky?fail=2") as device:
        for _ in range(2):
            with pytest.raises(TransientDeviceError):
                device.run(job)
        assert device.run(job).models


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("fake", UsageError, "needs a name"),
        ("fake://", UsageError, "needs a name"),
        ("fake://x?speed=1", UsageError, "known: ms_per_mb, fail, reject"),
        ("fake://x?noise=loud", UsageError, "known: ms_per_mb, fail, reject"),
        ("fake://x?reject=busy&reject_first=-1", UsageError, "known: ms_per_mb, fail, reject"),
        ("fake://x?fail=often", UsageError, "known: ms_per_mb, fail, reject"),
        ("fake://x?ms_per_mb=0", UsageError, "known: ms_per_mb, fail, reject"),
        ("fake://gone", DeviceUnavailableError, "not there"),
    ],
)
def test_wrong_specs(spec, error, message):
    with pytest.raises(error, match=message):
        open_device(spec)


def test_energy_is_as_scripted_and_missing_without_a_script_or_with_a_charger(tmp_path: Path):
    path = tmp_path / "model"
    path.write_bytes(b"x" * 2**20)
    job = Job.of(BenchSpec(timed_runs=1), (JobModel(path=path),))
    with open_device("fake://lab?mj_per_mb=5&ms_per_mb=2") as device:
        used = device.power(job)
    assert isinstance(used, PowerUse) and used.energy_per_inference_mj == pytest.approx(5.0)
    assert (used.mean_mw - used.idle_mw) * 2e-3 == pytest.approx(5.0)  # power times the 2 ms of an inference
    assert used.ci95[0] < 5.0 < used.ci95[1]
    for spec, reason in (
        ("fake://lab", "a fake device has none"),
        ("fake://lab?mj_per_mb=5&charging=true", "unplug it"),
    ):
        with open_device(spec) as device:
            none = device.power(job)
            assert isinstance(none, Missing) and reason in none.reason and none.reason == device.power_unavailable()
