from pathlib import Path

import pytest

from device_bench.device import Missing
from device_bench.probes.thermal import ThermalWatch
from device_bench.records import ThermalState


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_temperatures_clocks_and_throttle_counts(tmp_path: Path):
    zone = write(tmp_path / "class/thermal/thermal_zone0/temp", "41000\n")
    write(tmp_path / "class/thermal/thermal_zone1/temp", "38500\n")
    for cpu, khz in enumerate((1_200_000, 3_400_000)):
        write(tmp_path / f"devices/system/cpu/cpu{cpu}/cpufreq/scaling_cur_freq", f"{khz}\n")
    count = write(tmp_path / "devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "7\n")
    with ThermalWatch(tmp_path) as watch:
        zone.write_text("62500\n")
        count.write_text("9\n")
    assert watch.state() == ThermalState(
        start_c=41.0, end_c=62.5, freq_mhz_min=1200.0, freq_mhz_max=3400.0, throttled=True
    )


@pytest.mark.parametrize(("counts", "expected"), [(["3\n"], False), ([], None), (["nonsense"], None)])
def test_throttled_is_known_only_where_it_is_counted(tmp_path: Path, counts, expected):
    write(tmp_path / "class/thermal/thermal_zone0/temp", "41000\n")
    for text in counts:
        write(tmp_path / "devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", text)
    with ThermalWatch(tmp_path) as watch:
        pass
    state = watch.state()
    assert isinstance(state, ThermalState)
    assert state.throttled is expected
    assert (state.freq_mhz_min, state.freq_mhz_max) == (None, None)


@pytest.mark.parametrize("damaged", [False, True])
def test_a_machine_that_tells_nothing_says_so(tmp_path: Path, damaged):
    if damaged:
        write(tmp_path / "class/thermal/thermal_zone0/temp", "")
    with ThermalWatch(tmp_path) as watch:
        pass
    state = watch.state()
    assert isinstance(state, Missing) and "no readable thermal zone" in state.reason
