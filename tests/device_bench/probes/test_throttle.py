import pytest

from device_bench.device import Missing
from device_bench.probes.state import ClockPolicy, CpuClock, DeviceState
from device_bench.probes.throttle import thermal_between, throttle_evidence, was_throttled
from device_bench.records import ThermalState

TOP = 2_800_000


def policy(low_s: float, high_s: float, cpus: tuple[int, ...] = (4,), governor: str = "schedutil") -> ClockPolicy:
    return ClockPolicy(cpus=cpus, governor=governor, seconds_at_khz={500_000: low_s, TOP: high_s})


def state(cap_khz: int | None = TOP, **changes: object) -> DeviceState:
    clocks = {4: CpuClock(now_khz=500_000, cap_khz=cap_khz, top_khz=TOP)}
    return DeviceState.model_validate({"clocks": clocks, "uptime_s": 100.0, "thermal_status": 0, **changes})


def test_clocks_and_work_come_from_the_counters_between_the_readings():
    little = {"policy0": policy(50, 0, (0,))}
    before = state(policies={**little, "policy4": policy(10, 5)}, busy_s={0: 7.0, 4: 1.0}, skin_c=30.0, battery_c=29.0)
    after = state(
        policies={"policy0": policy(60, 0, (0,)), "policy4": policy(10.01, 14.99)},
        busy_s={0: 7.1, 4: 10.9},
        skin_c=33.5,
        battery_c=29.5,
        uptime_s=110.0,
    )
    assert thermal_between(before, after) == ThermalState(
        start_c=30.0, end_c=33.5, freq_mhz_min=2800.0, freq_mhz_max=2800.0, throttled=False
    )


@pytest.mark.parametrize(
    ("before", "after", "word"),
    [
        ({"throttle_count": 3}, {"throttle_count": 4}, "counted 1 throttle events"),
        ({"cpu_cooling": 0}, {"cpu_cooling": 2}, "cooled the CPU (state 2) after"),
        ({"cpu_cooling": 1}, {"cpu_cooling": 0}, "cooled the CPU (state 1) before"),
        ({}, {"thermal_status": 2}, "thermal status 2 (moderate) after"),
        ({}, {"cap_khz": 2_000_000}, "CPU 4's clock fell from 2800 to 2000 MHz"),
        (
            {"policies": {"policy4": policy(10, 5)}, "busy_s": {4: 1.0}},
            {"policies": {"policy4": policy(20, 5)}, "busy_s": {4: 10.8}, "uptime_s": 110.0},
            "policy4 was fully busy and reached only 500 of 2800 MHz",
        ),
    ],
)
def test_what_counts_as_throttled(before, after, word):
    found = throttle_evidence(state(**before), state(**after))
    assert len(found) == 1 and word in found[0]
    assert was_throttled(state(**before), state(**after)) is True


@pytest.mark.parametrize(
    ("before", "after", "throttled"),
    [
        ({}, {}, False),
        ({}, {"thermal_status": 1}, False),  # light: not felt, and the clock stands free
        (
            {"cap_khz": 2_000_000},
            {"cap_khz": 2_000_000},
            False,
        ),  # a maker's or a user's cap, and the status explains it not
        ({"cap_khz": 2_000_000, "thermal_status": None}, {"cap_khz": 2_000_000, "thermal_status": None}, None),
        ({"cap_khz": None}, {"cap_khz": None}, None),  # a thermal status of 0 can hide throttling
        ({"clocks": {}}, {"clocks": {}}, None),
        ({"clocks": {}, "throttle_count": 3}, {"clocks": {}, "throttle_count": 3}, False),
    ],
)
def test_what_does_not(before, after, throttled):
    assert was_throttled(state(**before), state(**after)) is throttled


@pytest.mark.parametrize("change", [{"governor": "userspace"}, {"low_s": 5.0, "high_s": 10.0}])
def test_a_clock_that_somebody_fixed_or_that_reached_its_cap_is_not_held_back(change):
    before = state(policies={"policy4": policy(0, 0)}, busy_s={4: 0.0})
    spent = policy(**{"low_s": 10.0, "high_s": 0.0, **change})
    after = state(policies={"policy4": spent}, busy_s={4: 9.9}, uptime_s=110.0)
    assert throttle_evidence(before, after) == []


def test_without_residencies_the_clocks_of_the_two_readings_count():
    fast = {4: CpuClock(now_khz=TOP, cap_khz=TOP, top_khz=TOP)}
    thermal = thermal_between(state(), state(clocks=fast))
    assert isinstance(thermal, ThermalState)
    assert (thermal.freq_mhz_min, thermal.freq_mhz_max) == (500.0, 2800.0)


def test_temperatures_of_two_different_sensors_are_not_compared():
    before = state(skin_c=30.0, temperatures_c={"a": 40.0, "b": 70.0})
    thermal = thermal_between(before, state(battery_c=25.0, temperatures_c={"a": 45.0, "c": 80.0}))
    assert isinstance(thermal, ThermalState)
    assert (thermal.start_c, thermal.end_c) == (40.0, 45.0)


def test_a_counter_that_went_back_tells_nothing():
    before = state(policies={"policy4": policy(50, 50)}, busy_s={4: 9.0})
    after = state(policies={"policy4": policy(1, 1)}, busy_s={4: 0.5}, uptime_s=3.0)
    thermal = thermal_between(before, after)
    assert isinstance(thermal, ThermalState) and thermal.freq_mhz_max == 500.0


def test_a_device_that_tells_nothing_says_so():
    thermal = thermal_between(DeviceState(), DeviceState())
    assert isinstance(thermal, Missing) and "no temperature and no clock" in thermal.reason
