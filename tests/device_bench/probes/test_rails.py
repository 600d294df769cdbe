import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_bench.device import Missing
from device_bench.probes.battery import LoadRun
from device_bench.probes.rails import INTERVAL_S, parse_rails, parse_trace, rails_power
from device_bench.records import PowerUse
from tests.device_bench.probes import dumps

LOAD = LoadRun(start_s=1020.0, end_s=1080.0, busy_s=60.0, inferences=600)


def rails_text(idle_mw: float = 400.0, load_mw: float = 2400.0, seconds: int = 100) -> str:
    """A display that takes 5 W all along, and a TPU and a big core that share the load."""
    parts, tpu_mj = [], 1000.0
    for now_s in range(1000, 1000 + seconds, INTERVAL_S):
        parts.append(f"uptime {now_s}.00\n")
        parts.append(dumps.RAILS.format(tpu=tpu_mj, big=tpu_mj / 2, display=5000.0 * now_s))
        for second in range(now_s, now_s + INTERVAL_S):
            tpu_mj += (load_mw if LOAD.start_s <= second < LOAD.end_s else idle_mw) / 1.5
    return "".join(parts)


def test_computing_rails_are_taken_and_no_others():
    rails = parse_rails(dumps.RAILS.format(tpu=5578.76, big=30203.5, display=1.0))
    assert rails == {
        "[S10M_VDD_TPU]:Tensor": 5578.76,
        "[S2M_VDD_CPUCL2]:CPU": 30203.5,
        "[S4M_VDD_CPUCL0]:CPU": 46356.94,
        "[S5M_VDD_INT]:SoC": 10771.88,
        "[S1M_VDD_MIF]:Memory": 21091.36,
        "[S2S_VDD_G3D]:GPU": 77.0,
    }


def test_energy_is_what_the_rails_took_above_idle():
    use = rails_power(parse_trace(rails_text()), LOAD)
    assert isinstance(use, PowerUse)
    assert use.idle_mw == pytest.approx(400, rel=0.01)
    assert use.mean_mw == pytest.approx(2400, rel=0.01)
    assert use.energy_per_inference_mj == pytest.approx(200, rel=0.02)
    assert use.ci95[0] <= use.energy_per_inference_mj <= use.ci95[1]
    assert "[S10M_VDD_TPU]:Tensor" in use.method and "DISP" not in use.method


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "0 readings of the power rails under load and 0 idle"),
        (rails_text(seconds=40), "readings of the power rails under load"),
        (rails_text(idle_mw=0.0, load_mw=0.0), "stand still"),
        (rails_text() + "uptime 1200.00\n" + dumps.RAILS.format(tpu=0, big=0, display=0), "went back"),
        (rails_text() + "uptime 1200.00\n [S10M_VDD_TPU]:Tensor   99999999.00 mWs\n", "list of rails changed"),
    ],
)
def test_what_says_nothing_is_refused(text, reason):
    use = rails_power(parse_trace(text), LOAD)
    assert isinstance(use, Missing) and reason in use.reason


PIECES = ["uptime 1.00\n", "uptime 2.00\n", "[S1M_VDD_TPU]:TPU  1.00 mWs\n", "x"]


@given(st.text() | st.lists(st.sampled_from(PIECES)).map("".join))
def test_garbage_is_never_an_error(text):
    use = rails_power(parse_trace(text), LOAD)
    assert use.reason if isinstance(use, Missing) else use.ci95[0] <= use.energy_per_inference_mj <= use.ci95[1]
