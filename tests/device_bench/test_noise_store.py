"""What is remembered of how files compare with themselves: bounded, whole, and forgiving of damage."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from device_bench import noise_store
from device_bench.noise_store import SelfComparison, Timing, append, default_path, read
from device_bench.records import BenchSpec, Readiness, RuntimeInfo

RUNTIME = RuntimeInfo(name="litert", version="2.1.2", runner="litert_runner")
SPEC = BenchSpec(affinity=(0, 1))


def sitting(number: int = 0, model: str = "a", spec: BenchSpec = SPEC) -> SelfComparison:
    return SelfComparison(
        device_id="phone",
        runtime=RUNTIME,
        timing=Timing.of(spec),
        model_sha256=model,
        median_ms=0.5,
        log_ratios=(0.01, -0.002, number / 1e6),
        started_at=f"2026-11-21T10:00:00.{number:06}",
    )


def test_what_was_appended_is_read_in_order(tmp_path: Path) -> None:
    path = tmp_path / "deep/phone.noise.jsonl"
    assert read(path) == ([], 0)
    lines = [sitting(number) for number in range(3)]
    assert [append(path, line) for line in lines] == [0, 0, 0]
    assert read(path) == (lines, 0)
    assert [file.name for file in path.parent.iterdir()] == ["phone.noise.jsonl"]


def test_the_oldest_of_a_model_under_a_timing_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise_store, "SITTINGS_OF_A_MODEL", 3)
    monkeypatch.setattr(noise_store, "SITTINGS", 6)
    path = tmp_path / "phone.noise.jsonl"
    rare = [sitting(0, "rare"), sitting(1, "a", BenchSpec(threads=4))]
    for line in [*rare, *(sitting(number) for number in range(2, 12))]:
        append(path, line)
    assert read(path)[0] == [*rare, *(sitting(number) for number in range(9, 12))]
    for number in range(12, 16):
        append(path, sitting(number, f"model {number}"))
    assert [line.started_at[-2:] for line in read(path)[0]] == ["10", "11", "12", "13", "14", "15"]


DAMAGE = ["", "{", "null", '{"version": 2}', "\xff\x00", sitting().model_dump_json()[:80], "1" * 5000]


@pytest.mark.parametrize("text", DAMAGE)
def test_a_damaged_line_costs_itself_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "phone.noise.jsonl"
    lines = [sitting(number) for number in range(3)]
    whole = [line.model_dump_json() for line in lines[:2]]
    path.write_text("\n".join([whole[0], text, whole[1]]) + "\n", encoding="latin-1")
    assert read(path) == (lines[:2], 1)
    assert append(path, lines[2]) == 1
    assert read(path) == (lines, 0)


def test_values_that_no_measurement_gives_are_damage(tmp_path: Path) -> None:
    path = tmp_path / "phone.noise.jsonl"
    good = sitting().model_dump_json()
    for wrong in (good.replace("0.01", "NaN"), good.replace("0.5", "0.0"), good.replace("0.01,-0.002,0.0", "")):
        assert wrong != good
        path.write_text(wrong + "\n")
        assert read(path) == ([], 1)


def test_sittings_at_the_same_time_are_all_remembered(tmp_path: Path) -> None:
    path = tmp_path / "phone.noise.jsonl"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: append(path, sitting(number)), range(40)))
    assert {line.started_at for line in read(path)[0]} == {sitting(number).started_at for number in range(40)}


def test_a_file_that_cannot_be_written_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "phone.noise.jsonl"
    append(path, sitting(0))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("device_bench.state_folder.os.replace", full)
    with pytest.raises(OSError, match="No space left"):
        append(path, sitting(1))
    assert read(path) == ([sitting(0)], 0)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_the_timing_is_what_noise_depends_on() -> None:
    ready = Readiness(min_battery_percent=50)
    same = SPEC.model_copy(update={"processes": 7, "precision": 0.01, "warmup_runs": 3, "readiness": ready})
    assert Timing.of(same) == Timing.of(SPEC)
    for change in ({"threads": 2}, {"min_seconds": 0.25}, {"timed_runs": 7}, {"affinity": None}, {"delegate": "none"}):
        assert Timing.of(SPEC.model_copy(update=change)) != Timing.of(SPEC)


def test_a_device_has_one_file_beside_its_calibration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    path = default_path("../x y/[::1]:5555\n" + "z" * 300)
    assert path.parent == tmp_path / "pocketprune/devices" and len(path.name) < 255
    assert default_path("a") != default_path("b")
