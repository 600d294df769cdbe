"""A search that is paid for energy, through the main flow on a fake device whose energy goes as the latency squared."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import pipeline
from device_bench.device import Job, Missing
from device_bench.devices.fake import FakeDevice
from device_bench.records import PowerUse
from pipeline.errors import RewardRejectedError
from tests.pipeline.tiny_run import tiny_config

TARGET = 0.4


@pytest.fixture(autouse=True)
def energy_goes_as_the_square(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeDevice, "energy_mj", lambda self, model: (model.path.stat().st_size / 2**16) ** 2)


def search(folder: Path) -> Path:
    """With energy alone as cost; the target of the latency could not be met, and does not count."""
    settings = {
        **tiny_config()["search"],
        "reward": {"energy": 1.0},
        "target": {"latency": 0.01, "energy": TARGET, "accuracy_drop": 0.02},
    }
    pipeline.run(tiny_config(search=settings, device="fake://lab?mj_per_mb=1"), run_dir=folder, until="search")
    return folder / "search"


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def plan_of(values: dict[str, int]) -> frozenset[tuple[str, int]]:
    return frozenset(values.items())


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FakeDevice, "energy_mj", lambda self, model: (model.path.stat().st_size / 2**16) ** 2)
        return search(tmp_path_factory.mktemp("energy") / "run")


def test_energy_is_measured_once_a_plan_and_modelled_between(finished: Path) -> None:
    (energy_log,) = finished.parent.glob("measured/*/energy.jsonl")
    episodes, energies = lines(finished / "episodes.jsonl"), lines(energy_log)
    assert set(Counter(plan_of(line["keep_counts"]) for line in energies).values()) == {1}
    measured = {plan_of(line["keep_counts"]): line["power"]["energy_per_inference_mj"] for line in energies}
    assert set(measured) == {plan_of(episode["plan"]) for episode in episodes} | {frozenset()}
    for episode in episodes:
        *between, end = [step["energy"] for step in episode["steps"]]
        assert {energy["source"] for energy in between} == {"model"} and end["source"] == "measured"
        assert end["ratio"] == pytest.approx(measured[plan_of(episode["plan"])] / measured[frozenset()])
        assert {energy["target_ratio"] for energy in (*between, end)} == {TARGET}


def test_the_winner_meets_the_target_of_energy_and_tells_its_interval(finished: Path) -> None:
    summary = json.loads((finished / "summary.json").read_text())
    energy = summary["energy"]
    assert summary["target_met"] and energy["ratio"] <= TARGET
    assert energy == summary["finalists"][0]["energy"] and energy["share"] == 1.0
    assert energy["ci95"][0] < energy["mj"] < energy["ci95"][1] and energy["dense_ci95"][0] < energy["dense_mj"]
    # Not far below it: half of the dense latency is a quarter of the energy here, which the model has learnt.
    last = lines(finished / "episodes.jsonl")[-1]["steps"][-1]
    assert last["energy"]["ratio"] > 0.3 and last["latency_ms"] / last["dense_latency_ms"] > 0.5


def test_a_search_whose_device_begins_to_charge_stops_and_goes_on_as_if_it_had_not(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, passes = FakeDevice.power, 0

    def charging_after_three(self: FakeDevice, job: Job) -> PowerUse | Missing:
        nonlocal passes
        passes += 1
        return real(self, job) if passes <= 3 else Missing(reason="a charger is attached")

    monkeypatch.setattr(FakeDevice, "power", charging_after_three)
    with pytest.raises(RewardRejectedError, match=r"\(a charger is attached\); mend the cause"):
        search(tmp_path / "run")
    assert not (tmp_path / "run" / "search").exists()
    monkeypatch.setattr(FakeDevice, "power", real)
    resumed = search(tmp_path / "run")
    for name in ("plan.json", "summary.json"):
        first, second = (json.loads((folder / name).read_text()) for folder in (finished, resumed))
        assert {**first, "wall_s": None} == {**second, "wall_s": None}
    rewards = [[episode["reward"] for episode in lines(folder / "episodes.jsonl")] for folder in (finished, resumed)]
    assert rewards[0] == rewards[1]
