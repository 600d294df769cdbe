from pathlib import Path

import pytest

from device_bench.device import Missing
from device_bench.probes.battery import BatteryTrace, Phases, cut, parse_trace
from device_bench.probes.calibration import Calibration, calibrate, default_path, load, reconcile, save
from tests.device_bench.probes.gauges import LOAD, gauge_text

KEPT = Calibration(device_id="a", source="sysfs battery", sign=-1, unit="microamperes", by="charge counter")


def found(**changes: object) -> Calibration | Missing:
    trace = parse_trace(gauge_text(**changes))
    assert isinstance(trace, BatteryTrace)
    phases = cut(trace, LOAD)
    assert isinstance(phases, Phases)
    return calibrate(trace, phases, "a")


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("unit_a", [1e-6, 1e-3])
@pytest.mark.parametrize(("step", "by"), [(100, "charge counter"), (20_000, "size"), (None, "size")])
@pytest.mark.parametrize("source", ["sysfs", "service"])
def test_unit_and_sign_of_every_kind_of_gauge(sign, unit_a, step, by, source):
    calibration = found(sign=sign, unit_a=unit_a, counter_step_uah=step, source=source)
    assert isinstance(calibration, Calibration)
    assert (calibration.signed_unit_a, calibration.by) == (sign * unit_a, by)
    assert calibration.source == f"{source} battery"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"load_a": 0.25}, "does not show in the battery's current"),
        ({"idle_a": -0.3}, "charged while idle"),
        ({"unit_a": 3e-5, "counter_step_uah": None}, "neither in microamperes nor in milliamperes"),
        ({"unit_a": 1e-7}, "no unit fits both"),
    ],
)
def test_what_cannot_be_is_refused(changes, reason):
    calibration = found(**changes)
    assert isinstance(calibration, Missing) and reason in calibration.reason


def test_the_first_is_remembered_and_then_holds(tmp_path: Path):
    path = tmp_path / "deep/a.json"
    assert reconcile(KEPT, path, KEPT.source) == KEPT
    assert load(path) == KEPT
    assert [file.name for file in path.parent.iterdir()] == ["a.json"]
    assert reconcile(Missing(reason="no step"), path, KEPT.source) == KEPT


def test_one_that_contradicts_gives_no_figure_and_says_what_to_do(tmp_path: Path):
    path = tmp_path / "a.json"
    save(KEPT, path)
    held = reconcile(KEPT.model_copy(update={"sign": 1, "unit": "milliamperes"}), path, KEPT.source)
    assert isinstance(held, Missing)
    assert "milliamperes, positive" in held.reason and "microamperes, negative" in held.reason
    assert f"remove {path}" in held.reason
    assert load(path) == KEPT


def test_another_source_is_calibrated_anew(tmp_path: Path):
    path = tmp_path / "a.json"
    save(KEPT, path)
    other = KEPT.model_copy(update={"source": "service battery", "unit": "milliamperes"})
    assert reconcile(other, path, other.source) == other == load(path)


def test_nothing_found_and_nothing_kept_is_missing(tmp_path: Path):
    held = reconcile(Missing(reason="no step"), tmp_path / "a.json", "sysfs battery")
    assert held == Missing(reason="no step") and not (tmp_path / "a.json").exists()


@pytest.mark.parametrize("text", ["", "{", '{"version": 2}', "\xff"])
def test_a_damaged_file_is_named(tmp_path: Path, text):
    path = tmp_path / "a.json"
    path.write_text(text, encoding="latin-1")
    held = reconcile(KEPT, path, KEPT.source)
    assert isinstance(held, Missing) and f"{path} holds no calibration" in held.reason


def test_every_id_is_one_file_below_the_state_folder(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    path = default_path("../x y/[::1]:5555\n" + "z" * 300)
    assert path.parent == tmp_path / "pocketprune/devices"
    assert len(path.name) < 255
