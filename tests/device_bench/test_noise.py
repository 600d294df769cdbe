"""The noise floor of a device: what counts towards it, where it is shown, and that it never costs a measurement."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import device_bench
from device_bench.device import Missing, Observer
from device_bench.errors import UsageError
from device_bench.noise import MIN_PROCESSES, floor, floor_of, floor_of_sittings, spreads
from device_bench.noise_run import PROCESSES
from device_bench.noise_store import SelfComparison, append, default_path, read
from device_bench.records import BenchSpec, ComparisonResult, NoiseFloor
from tests.device_bench.test_noise_store import RUNTIME, SPEC, sitting

NOISY = "fake://lab?noise=0.01"
log_ratios = st.lists(st.floats(min_value=-0.5, max_value=0.5), min_size=1, max_size=20)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model"
    path.write_bytes(bytes(500_000))
    return path


def known(found: NoiseFloor | Missing) -> NoiseFloor:
    assert isinstance(found, NoiseFloor)
    return found


def remember(count: int, **changes: object) -> None:
    for number in range(count):
        append(default_path("phone"), sitting(number).model_copy(update=changes))


@given(st.lists(log_ratios, min_size=1, max_size=8))
def test_the_two_spreads_make_up_the_mean_square(sittings: list[list[float]]) -> None:
    process, common = spreads(sittings)
    assert process**2 + common**2 == pytest.approx(np.square(np.concatenate(sittings)).mean(), abs=1e-12)


def test_what_a_sitting_has_in_common_is_told_from_what_a_process_has() -> None:
    rng = np.random.default_rng(0)
    drawn = 0.01 * rng.standard_normal((400, 1)) + 0.005 * rng.standard_normal((400, 3))
    assert spreads(drawn.tolist()) == (pytest.approx(0.005, rel=0.1), pytest.approx(0.01, rel=0.1))
    assert spreads(rng.permutation(drawn.ravel()).reshape(-1, 1).tolist())[1] == 0.0


@given(st.lists(log_ratios, min_size=10, max_size=12), st.integers(min_value=1, max_value=20))
def test_a_floor_lies_in_its_interval_and_below_what_is_visible(sittings: list[list[float]], processes: int) -> None:
    seen = [sitting().model_copy(update={"log_ratios": tuple(ratios)}) for ratios in sittings]
    found = known(floor_of_sittings(seen, processes))
    assert found.n == sum(map(len, sittings)) and found.sittings == len(sittings)
    assert 0 <= found.ci95[0] <= found.floor <= found.ci95[1]
    assert found.visible >= 0
    if found.process_spread > 1e-6:
        assert found.visible > found.ci95[0]


def test_more_processes_see_more_until_the_sitting_is_all_that_is_left() -> None:
    rng = np.random.default_rng(0)
    drawn = 0.002 * rng.standard_normal((60, 1)) + 0.01 * rng.standard_normal((60, 3))
    seen = [sitting().model_copy(update={"log_ratios": tuple(ratios)}) for ratios in drawn.tolist()]
    floors = [known(floor_of_sittings(seen, processes)) for processes in (2, 3, 5, 10, 20)]
    assert sorted(floors, key=lambda one: -one.floor) == floors == sorted(floors, key=lambda one: -one.visible)
    assert floors[-1].floor > 1.9 * floors[-1].sitting_spread


def test_too_few_processes_are_missing_with_the_remedy() -> None:
    assert MIN_PROCESSES == 10
    remember(3)
    found = floor("phone", SPEC, 3)
    assert isinstance(found, Missing)
    assert "9 processes" in found.reason and "10 are needed" in found.reason and "`pocketprune noise" in found.reason
    remember(1)
    assert known(floor("phone", SPEC, 3)).n == 12


def test_only_what_was_measured_alike_counts() -> None:
    remember(5)
    remember(4, runtime=RUNTIME.model_copy(update={"version": "2.2.0"}))
    remember(4, device_id="tablet")
    remember(7, median_ms=50.0)
    assert known(floor("phone", SPEC, 3, runtime=RUNTIME, model_ms=0.3)).n == 15
    assert known(floor("phone", SPEC, 3, runtime=RUNTIME, model_ms=40.0)).n == 21
    assert known(floor("phone", SPEC, 3, runtime=RUNTIME)).models_ms == (0.5, 50.0)
    assert isinstance(floor("phone", SPEC, 3, runtime=RUNTIME, model_ms=5.0), Missing)
    assert isinstance(floor("phone", SPEC.model_copy(update={"threads": 2}), 3), Missing)
    another_runner = RUNTIME.model_copy(update={"runner_sha256": "f" * 64})
    assert known(floor("phone", SPEC, 3, runtime=another_runner)).n == 36


def test_without_a_runtime_the_last_one_counts() -> None:
    remember(5)
    remember(4, runtime=RUNTIME.model_copy(update={"version": "2.2.0"}))
    assert known(floor("phone", SPEC, 3)).n == 12


def test_every_comparison_adds_to_what_is_known_of_its_device(model: Path) -> None:
    spec = BenchSpec(processes=3)
    results = [device_bench.compare([model, model], NOISY, spec) for _ in range(4)]
    assert [result.device_noise is None for result in results] == [True, True, True, False]
    assert "9 processes" in results[2].missing["device_noise"]
    lines, damaged = read(default_path("fake-lab"))
    assert (len(lines), damaged) == (4, 0)
    assert lines[0].log_ratios == results[0].baseline_log_ratios and len(lines[0].log_ratios) == 3
    assert known(floor_of(results)) == results[3].device_noise
    assert ComparisonResult.model_validate_json(results[3].model_dump_json()) == results[3]


def test_the_store_holds_no_path(model: Path) -> None:
    device_bench.compare([model, model], NOISY)
    text = default_path("fake-lab").read_text()
    assert str(model.parent) not in text and set(SelfComparison.model_fields) == {
        "version", "device_id", "runtime", "timing", "model_sha256", "median_ms", "log_ratios", "started_at",
    }  # fmt: skip


def test_rejected_processes_are_not_remembered(model: Path) -> None:
    spec = BenchSpec(processes=3)
    result = device_bench.compare([model, model], f"{NOISY}&reject=throttled&reject_first=2", spec)
    (line,), _ = read(default_path("fake-lab"))
    assert len(result.baseline_log_ratios) == len(line.log_ratios) == 3
    result = device_bench.compare([model, model], f"{NOISY}&reject=charging", spec)
    assert result.baseline_log_ratios == () and not result.measurements[0].valid
    assert len(read(default_path("fake-lab"))[0]) == 1
    assert isinstance(floor_of([result]), Missing)


class Listening(Observer):
    def __init__(self) -> None:
        self.heard: list[str] = []

    def doing(self, text: str) -> None:
        self.heard.append(text)


def test_a_memory_that_cannot_be_written_spoils_no_measurement(model: Path, state: Path) -> None:
    state.write_text("a file where the folder should be")
    listening = Listening()
    result = device_bench.compare([model, model], NOISY, BenchSpec(processes=12), observer=listening)
    assert result.measurements[0].valid and result.comparisons[0].verdict
    assert any("is not remembered" in text for text in listening.heard)
    assert "cannot be read" in result.missing["device_noise"]
    noise = device_bench.noise_floor(model, NOISY, BenchSpec(processes=5), 2)
    assert [one.n for one in noise.floors] == [10] * len(PROCESSES)


def test_damaged_lines_are_told_of(model: Path) -> None:
    path = default_path("fake-lab")
    path.parent.mkdir(parents=True)
    path.write_text("{\n" * 2)
    listening = Listening()
    device_bench.compare([model, model], NOISY, observer=listening)
    assert any("2 damaged line(s)" in text for text in listening.heard)
    assert len(path.read_text().splitlines()) == 1


def test_noise_floor_compares_a_file_with_itself(model: Path) -> None:
    noise = device_bench.noise_floor(model, NOISY, BenchSpec(processes=3))
    assert [len(ratios) for ratios in noise.log_ratios] == [3] * 4
    assert len(noise.verdicts) == 4 and not noise.missing and not noise.rejections
    assert [one.processes for one in noise.floors] == list(PROCESSES)
    assert {one.n for one in noise.floors} == {12}
    again = device_bench.noise_floor(model, NOISY, BenchSpec(processes=3), 1)
    assert {one.n for one in again.floors} == {15}


def test_noise_floor_that_cannot_be_told_says_why(model: Path) -> None:
    few = device_bench.noise_floor(model, NOISY, BenchSpec(processes=3), 2)
    assert few.floors == () and "6 processes" in few.missing["floors"]
    rejected = device_bench.noise_floor(model, "fake://hot?reject=charging", BenchSpec(processes=3))
    assert rejected.floors == () and rejected.rejections == ("charging",) and len(rejected.verdicts) == 1
    with pytest.raises(UsageError, match="ask for one or more"):
        device_bench.noise_floor(model, NOISY, comparisons=0)
