"""The profile: one session on the device, taken up where it stopped, with all estimators' errors written down."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_bench.device import Job, JobResult
from device_bench.devices.fake import FakeDevice
from pipeline.errors import MeasurementRejectedError
from pipeline.export import TfliteConverter
from pipeline.pruning.costs import trace_shape
from pipeline.pruning.groups import find_groups
from pipeline.search.latency_table import LatencyTable
from pipeline.search.profile import TOGETHER_BYTES, Profiler, chunked
from pipeline.search_section import ProfileSection
from tests.pipeline.search.test_latency import FREE, SHAPE, meter

SETTINGS = ProfileSection(fit_variants=25, check_variants=3)


@pytest.fixture(scope="module")
def converter() -> Iterator[TfliteConverter]:
    with TfliteConverter() as running:
        yield running


def build(
    folder: Path, converter: TfliteConverter, settings: ProfileSection = SETTINGS, device: str = "fake://lab"
) -> tuple[LatencyTable, list[tuple[str, int, int]]]:
    meant = meter(folder, converter, device)
    shape = trace_shape(meant.network, find_groups(meant.network, SHAPE, FREE), SHAPE)
    said: list[tuple[str, int, int]] = []
    table = Profiler(meant, shape, FREE, settings, lambda *words: said.append(words)).build(seed=0)
    return table, said


def test_a_table_says_where_it_comes_from_and_what_every_estimator_missed(
    tmp_path: Path, converter: TfliteConverter
) -> None:
    table, said = build(tmp_path, converter)
    assert (table.device.id, table.runtime.version, len(table.points)) == ("fake-lab", "fake", 25)
    assert {point.sitting for point in table.points} == {0, 1, 2}
    assert set(table.errors) == {"tiles", "layers", "combined"} and table.error == table.errors[table.estimator]
    assert table.error is not None and table.error.n == 3 and table.error.median < 0.05
    assert table.layers and table.steps.keys() == table.channels.keys()
    assert all(set(edges) <= table.staircases[group].keys() for group, edges in table.steps.items())
    assert said[-1] == ("measuring checks", 3, 3)
    assert {"measuring variants", "measuring layers"} <= {what for what, _, _ in said}
    assert LatencyTable.model_validate_json(table.model_dump_json()) == table


def test_layers_may_be_left_out(tmp_path: Path, converter: TfliteConverter) -> None:
    table, _ = build(tmp_path, converter, SETTINGS.model_copy(update={"layers": False}))
    assert not table.layers and not table.steps and set(table.errors) == {"tiles"}
    assert table.missing == {"layers": "search.profile.layers is false"}


def test_an_interrupted_profile_measures_no_sitting_again(
    tmp_path: Path, converter: TfliteConverter, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = 0
    run = FakeDevice.run

    def stop(device: FakeDevice, job: object) -> object:
        nonlocal runs
        runs += 1
        if runs == 4:  # after a look at the runtime and two sittings
            raise KeyboardInterrupt
        return run(device, job)  # type: ignore[arg-type]

    monkeypatch.setattr(FakeDevice, "run", stop)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, converter)
    done = (tmp_path / "measurements.jsonl").read_text()
    assert len(done.splitlines()) == 2
    interrupted, _ = build(tmp_path, converter)
    assert (tmp_path / "measurements.jsonl").read_text().startswith(done)
    (tmp_path / "whole").mkdir()
    monkeypatch.setattr(FakeDevice, "run", run)
    whole, _ = build(tmp_path / "whole", converter)
    assert interrupted.points == whole.points and interrupted.layers == whole.layers


def test_a_disturbed_sitting_is_no_part_of_a_table(tmp_path: Path, converter: TfliteConverter) -> None:
    with pytest.raises(MeasurementRejectedError, match=r"a measurement was rejected \(busy: others"):
        build(tmp_path, converter, device="fake://lab?reject=busy%3A%20others")
    assert not (tmp_path / "measurements.jsonl").exists()


def test_sittings_of_another_runtime_are_measured_again(
    tmp_path: Path, converter: TfliteConverter, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(tmp_path, converter)
    before = len((tmp_path / "measurements.jsonl").read_text().splitlines())
    build(tmp_path, converter)
    assert len((tmp_path / "measurements.jsonl").read_text().splitlines()) == before
    run = FakeDevice.run

    def newer(device: FakeDevice, job: Job) -> JobResult:
        result = run(device, job)
        return result.model_copy(update={"runtime": result.runtime.model_copy(update={"version": "newer"})})

    monkeypatch.setattr(FakeDevice, "run", newer)
    table, _ = build(tmp_path, converter)
    assert table.runtime.version == "newer"
    assert len((tmp_path / "measurements.jsonl").read_text().splitlines()) == 2 * before


def test_the_table_was_measured_down_to_where_it_answers(tmp_path: Path, converter: TfliteConverter) -> None:
    table, _ = build(tmp_path, converter)
    for group, smallest in table.smallest.items():
        assert min(point.keep_counts[group] for point in table.points) == smallest


@given(sizes=st.lists(st.floats(1.0, 2e9), max_size=60), together=st.integers(1, 20))
def test_a_sitting_holds_what_fits_in_memory(sizes: list[float], together: int) -> None:
    chunks = chunked(range(len(sizes)), sizes, together)
    assert [item for chunk in chunks for item in chunk] == list(range(len(sizes)))
    for chunk in chunks:
        assert 1 <= len(chunk) <= together
        assert len(chunk) == 1 or sum(sizes[item] for item in chunk) <= TOGETHER_BYTES * (1 + 1e-9)


def test_layers_of_a_runner_that_starts_a_process_for_each_turn_are_left_out(
    tmp_path: Path, converter: TfliteConverter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.search.profile.IN_ONE_PROCESS", ())
    table, _ = build(tmp_path, converter)
    assert table.missing["layers"].startswith("fake starts a process for each turn")
    stored = json.loads((tmp_path / "measurements.jsonl").read_text().splitlines()[0])
    assert stored["spec"]["processes"] == 1 and len(stored["ratios"]) == 10
