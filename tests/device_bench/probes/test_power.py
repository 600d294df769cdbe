from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_bench.device import Missing
from device_bench.probes.power import SAMPLE_S, EnergyCounters, EnergyWatch, power_use
from device_bench.records import PowerUse

RANGE_UJ = 262_143_328_850  # of a real package


def package(sysfs: Path, zone: str, energy_uj: int, name: str = "package-0", range_uj: int = RANGE_UJ) -> Path:
    folder = sysfs / "class/powercap" / zone
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "max_energy_range_uj").write_text(f"{range_uj}\n")
    (folder / "energy_uj").write_text(f"{energy_uj}\n")
    return folder / "energy_uj"


@pytest.mark.parametrize("present", [False, True])
def test_counters_that_cannot_be_used_say_why(tmp_path: Path, present):
    if present:
        package(tmp_path, "intel-rapl:0", 0).write_text("")
    reason = EnergyCounters(tmp_path).unavailable()
    assert reason is not None
    assert ("not readable" if present else "no RAPL counters") in reason


def test_packages_are_added_and_their_parts_are_not(tmp_path: Path):
    first = package(tmp_path, "intel-rapl:0", 1000)
    second = package(tmp_path, "intel-rapl:1", 5000, "package-1")
    core = package(tmp_path, "intel-rapl:0:0", 0, "core")
    platform = package(tmp_path, "intel-rapl:2", 0, "psys")
    counters = EnergyCounters(tmp_path)
    assert counters.unavailable() is None
    for file, energy_uj in ((first, 1300), (second, 5050), (core, 200), (platform, 900)):
        file.write_text(f"{energy_uj}\n")
    assert counters.total_uj() == 350


@given(st.lists(st.integers(0, 999), min_size=1, max_size=30), st.integers(0, 999))
def test_a_counter_that_wraps_goes_on_rising(tmp_path_factory, increments, start):
    sysfs = tmp_path_factory.mktemp("sysfs")
    file = package(sysfs, "intel-rapl:0", start, range_uj=1000)
    counters = EnergyCounters(sysfs)
    for i, increment in enumerate(increments):
        start += increment
        file.write_text(f"{start % 1000}\n")
        assert counters.total_uj() == sum(increments[: i + 1])


def ideal_trace(idle_mw: float, load_mw: float, idle_s: float, load_s: float) -> list[tuple[float, int]]:
    trace, energy_uj = [], 0.0
    for step in range(round((2 * idle_s + load_s) / SAMPLE_S) + 1):
        time_s = 100 + step * SAMPLE_S
        trace.append((time_s, round(energy_uj)))
        loaded = 100 + idle_s <= time_s < 100 + idle_s + load_s
        energy_uj += (load_mw if loaded else idle_mw) * SAMPLE_S * 1000
    return trace


@given(st.integers(500, 20_000), st.integers(0, 50_000), st.integers(1, 10_000))
def test_energy_is_the_power_above_idle_times_the_time_of_a_run(idle_mw, more_mw, runs):
    trace = ideal_trace(idle_mw, idle_mw + more_mw, idle_s=3, load_s=10)
    use = power_use(trace, (103.0, 113.0), runs)
    assert isinstance(use, PowerUse)
    assert use.idle_mw == pytest.approx(idle_mw, rel=1e-3)
    assert use.mean_mw == pytest.approx(idle_mw + more_mw, rel=0.03)
    assert use.energy_per_inference_mj == pytest.approx(more_mw * 10 / runs, rel=0.03, abs=idle_mw * 0.01 / runs)
    assert use.ci95[0] <= use.energy_per_inference_mj <= use.ci95[1]


def test_too_short_a_load_has_no_figure():
    use = power_use(ideal_trace(1000, 2000, idle_s=3, load_s=1), (103.0, 104.0), 10)
    assert isinstance(use, Missing) and "two of each needed" in use.reason


def test_the_watch_samples_until_it_is_left(tmp_path: Path):
    file = package(tmp_path, "intel-rapl:0", 0)
    with EnergyWatch(EnergyCounters(tmp_path)) as watch:
        file.write_text("123\n")
    assert watch.trace and watch.trace[-1][1] in (0, 123)
    assert [sample[0] for sample in watch.trace] == sorted(sample[0] for sample in watch.trace)
