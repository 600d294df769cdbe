"""The main flow with a real device behind adb in the loop: searched, measured and benched there."""

import json
from pathlib import Path

import pytest

import pipeline
from device_bench import noise
from device_bench.probes import power_pass
from device_bench.runners import benchmark_model
from pipeline.errors import RewardRejectedError
from tests.busy_machine import ANY_LOAD
from tests.pipeline.tiny_run import tiny_config
from tests.rig.device import RigDevice


@pytest.mark.parametrize("personality", ["board", "pixel"])
def test_a_run_on_a_device_behind_adb(
    rig_device: RigDevice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, personality: str
) -> None:
    rig_device.personality(personality)
    monkeypatch.setattr(noise, "MIN_PROCESSES", 2)  # as few as tell anything
    monkeypatch.setattr(benchmark_model, "MIN_ROUNDS", 3)  # the stand-in starts a Python for each run of the tool
    for name in ("IDLE_S", "LOAD_S"):  # too short for a figure of power: that has tests of its own
        monkeypatch.setattr(power_pass, name, 0.5)
    brief = {"timed_runs": 5, "min_seconds": 0.02, "precision": None, "readiness": ANY_LOAD.model_dump()}
    search = {
        **tiny_config()["search"],
        "episodes": 1,
        "reward_from": ["container"],
        "profile": {"fit_variants": 2, "check_variants": 1},
        "bench": {**brief, "warmup_runs": 1, "processes": 1},
    }
    bench = {**brief, "processes": 2}
    config = tiny_config(device=rig_device.spec, search=search, bench=bench, baseline={"epochs": 1}, controls=[])
    folder = pipeline.run(config, run_dir=tmp_path / "run")
    summary = json.loads((folder / "report" / "summary.json").read_text())
    measured = [
        measurement
        for variant in summary["variants"]
        for artifact in variant["artifacts"]
        for measurement in artifact["measurements"]
    ]
    assert len(measured) == len(summary["variants"]) >= 2
    assert {measurement["device"]["kind"] for measurement in measured} == {"container"}
    assert len({measurement["device"]["id"] for measurement in measured}) == 1 and summary["device"] == rig_device.spec
    episodes = [json.loads(line) for line in (folder / "search" / "episodes.jsonl").read_text().splitlines()]
    assert {episode["latency_source"] for episode in episodes} == {"measured"}
    assert rig_device.processes() == []
    assert "container" in (folder / "report" / "summary.md").read_text()


def test_a_container_pays_no_reward_unless_it_is_named(rig_device: RigDevice, tmp_path: Path) -> None:
    with pytest.raises(RewardRejectedError, match="of kind 'container'"):
        pipeline.run(tiny_config(device=rig_device.spec), run_dir=tmp_path / "run")
