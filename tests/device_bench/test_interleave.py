from pathlib import Path

import pytest

import device_bench
from device_bench.errors import UsageError
from device_bench.records import BenchSpec, ComparisonResult
from tests.busy_machine import ANY_LOAD

QUICK = BenchSpec(warmup_runs=1, timed_runs=20, min_seconds=0.05, readiness=ANY_LOAD)


@pytest.fixture
def sized(tmp_path: Path):
    def make(name: str, size: int) -> Path:
        path = tmp_path / name
        path.write_bytes(b"x" * size)
        return path

    return make


@pytest.mark.parametrize("processes", [1, 3])
def test_verdicts_on_a_device_without_noise(sized, processes):
    paths = [sized("base", 2000), sized("half", 1000), sized("double", 4000), sized("same", 2000)]
    result = device_bench.compare(paths, "fake://lab", BenchSpec(processes=processes), names=["b", "h", "d", "s"])
    found = {c.candidate: (c.ratio, c.verdict) for c in result.comparisons}
    assert found == {"h": (0.5, "faster"), "d": (2.0, "slower"), "s": (1.0, "inconclusive")}
    assert {c.baseline for c in result.comparisons} == {"b"}
    assert {c.noise_floor for c in result.comparisons} == {0.0}
    assert [m.artifact.path for m in result.measurements] == [str(path) for path in paths]


def test_a_rejected_measurement_decides_nothing(sized):
    result = device_bench.compare([sized("base", 2000), sized("half", 1000)], "fake://hot?reject=throttled")
    assert result.comparisons[0].ratio == 0.5
    assert result.comparisons[0].verdict == "inconclusive"
    assert not any(measurement.valid for measurement in result.measurements)


def test_on_the_host_every_model_gets_what_the_spec_asks(tiny_tflite: Path, wide_tflite: Path):
    result = device_bench.compare([tiny_tflite, wide_tflite], spec=QUICK.model_copy(update={"processes": 2}))
    assert len(result.measurements) == 2
    for measured in result.measurements:
        assert measured.valid
        assert len(measured.latency_ms.processes) == 2
        assert min(measured.latency_ms.processes) >= QUICK.timed_runs
        assert measured.fps is not None and measured.latency_ms.n / measured.fps >= 2 * QUICK.min_seconds
        assert measured.latency_ms.ci95 is not None
        assert measured.memory is None and "shared" in measured.missing["memory"]
    comparison = result.comparisons[0]
    assert comparison.ci95[0] <= comparison.ratio <= comparison.ci95[1]
    assert (comparison.baseline, comparison.candidate) == (str(tiny_tflite), str(wide_tflite))
    assert ComparisonResult.model_validate_json(result.model_dump_json()) == result


def test_one_process_is_enough_for_an_interval(tiny_tflite: Path, wide_tflite: Path):
    comparison = device_bench.compare([tiny_tflite, wide_tflite], spec=QUICK).comparisons[0]
    assert 0 < comparison.ci95[0] <= comparison.ratio <= comparison.ci95[1]


def test_too_few_files_or_names(sized):
    base = sized("base", 10)
    with pytest.raises(UsageError, match="give a baseline and at least one candidate"):
        device_bench.compare([base], "fake://lab")
    with pytest.raises(UsageError, match="1 names for 2 model files"):
        device_bench.compare([base, base], "fake://lab", names=["base"])
