import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_bench.device import CpuShares, Job, JobModel, Missing
from device_bench.devices.host import HostDevice
from device_bench.probes.others import MIN_LOOP_S, CpuTimes, cpu_shares, rejections
from device_bench.records import BenchSpec, Readiness
from tests.busy_machine import ANY_LOAD

STAT = "cpu  2114965 333973 441243 1527526 11810 0 5087 3922 0 0\n"


def stat(user: int = 0, nice: int = 0, system: int = 0, idle: int = 0, softirq: int = 0, steal: int = 0) -> str:
    return f"cpu  {100 + user} {nice} {system} {500 + idle} 7 0 {softirq} {steal} 9 9\n"


def times(text: str | None, own_s: float = 0.0, waited_s: float | None = 0.0) -> CpuTimes:
    return CpuTimes(stat=text, own_s=own_s, waited_s=waited_s)


def shares(
    others_s: float = 0.0, stolen_s: float = 0.0, waited_s: float | None = 0.0, wall_s: float = 1.0
) -> CpuShares:
    return CpuShares(wall_s=wall_s, others_s=others_s, stolen_s=stolen_s, waited_s=waited_s)


def test_what_is_neither_idle_nor_ours_is_others():
    before, after = times(stat(), own_s=3.0, waited_s=0.5), times(stat(150, 5, 10, 900, 5, 3), 4.0, 0.75)
    seen = cpu_shares(before, after, 1.0)
    assert isinstance(seen, CpuShares)
    assert (seen.others_s, seen.stolen_s, seen.waited_s) == (pytest.approx(0.7), 0.03, 0.25)


@given(st.none() | st.text() | st.text("cpu 0123456789", max_size=80), st.booleans())
def test_a_text_that_is_no_line_of_the_kernel_says_nothing_or_something_possible(text, garbage_first):
    pair = (text, STAT) if garbage_first else (STAT, text)
    seen = cpu_shares(times(pair[0]), times(pair[1]), 1.0)
    assert isinstance(seen, Missing) or (seen.others_s >= 0 and seen.stolen_s >= 0)


def test_where_nobody_counts_what_is_missing_is_said():
    seen = cpu_shares(times(None), times(None), 1.0)
    assert isinstance(seen, Missing) and "load of other programs is not noticed" in seen.reason
    unknown = cpu_shares(times(stat(), waited_s=None), times(stat(150), waited_s=0.2), 1.0)
    assert isinstance(unknown, CpuShares) and unknown.waited_s is None


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (shares(others_s=0.84), "busy: other programs used 0.84 CPUs while it was timed (at most 0.10)"),
        (shares(waited_s=0.053), "busy: it waited for a CPU 5% of the time (at most 2%)"),
        (shares(stolen_s=0.06), "stolen: the hypervisor took 6% of the time (at most 2%)"),
        (shares(others_s=0.84, waited_s=0.3), "busy: other programs used 0.84 CPUs while it was timed (at most 0.10)"),
    ],
)
def test_what_rejects(seen, expected):
    assert rejections(seen, Readiness()) == [expected]
    assert rejections(seen, ANY_LOAD) == []


@pytest.mark.parametrize("wall_s", [MIN_LOOP_S, 0.25, 1.0, 30.0])
def test_a_tick_at_either_end_rejects_nothing(wall_s):
    assert rejections(shares(others_s=0.02, stolen_s=0.01, waited_s=None, wall_s=wall_s), Readiness()) == []


def test_a_loop_of_a_few_ticks_and_a_runner_that_does_not_look_say_nothing():
    assert rejections(shares(others_s=0.15, waited_s=0.15, wall_s=0.15), Readiness()) == []
    assert rejections(None, Readiness()) == []


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="reads /proc/stat")
def test_a_neighbour_that_computes_all_along_is_noticed_on_the_host(tiny_tflite: Path):
    job = Job.of(BenchSpec(timed_runs=1, min_seconds=0.5), (JobModel(path=tiny_tflite),))
    neighbour = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        with HostDevice() as host:
            host.prepare(Readiness(max_others_cpus=0.0))
            result = host.run(job)
            host.prepare(ANY_LOAD)
            assert host.run(job).rejections == ()
    finally:
        neighbour.kill()
        neighbour.wait()
    assert result.rejections and result.rejections[0].startswith(("busy: other programs used", "busy: it waited"))
    seen = result.cpu_shares
    assert seen is not None and seen.wall_s >= 0.5
    assert seen.others_s + seen.stolen_s <= (os.cpu_count() or 1) * (seen.wall_s + 0.05)
