"""The driver over real adb, on a device that has benchmark_model and no Python: the rig's phone with the stand-in."""

from pathlib import Path

import pytest

import device_bench
from device_bench.errors import RunnerError
from device_bench.records import BenchSpec
from tests.busy_machine import ANY_LOAD
from tests.rig.device import RigDevice

SPEC = BenchSpec(warmup_runs=2, timed_runs=20, min_seconds=0.1, readiness=ANY_LOAD)


@pytest.fixture
def phone(rig_device: RigDevice) -> RigDevice:
    rig_device.personality("phone")
    return rig_device


def test_a_phone_is_measured_with_the_tool(phone, tiny_tflite: Path):
    got = device_bench.benchmark(tiny_tflite, phone.spec, SPEC, power=False)
    assert got.runtime.runner == "benchmark_model"
    assert got.runtime.version.startswith("benchmark_model ")
    assert got.latency_ms.median is not None and got.latency_ms.samples is None
    assert got.latency_ms.n >= 20
    assert got.delegate is not None and got.delegate.partitions == 1
    assert got.memory is not None and got.ops
    assert phone.files("/data/local/tmp/pocketprune/runs") == []


def test_a_comparison_on_a_phone_is_made_in_turns(phone, tiny_tflite: Path, wide_tflite: Path):
    result = device_bench.compare([tiny_tflite, wide_tflite], phone.spec, SPEC)
    assert result.comparisons[0].ratio > 1


def test_a_tool_that_crashes_leaves_nothing(phone, tiny_tflite: Path):
    phone.give_benchmark_model(fault="segv")
    with pytest.raises(RunnerError, match="SIGSEGV"):
        device_bench.benchmark(tiny_tflite, phone.spec, SPEC, power=False)
    assert phone.files("/data/local/tmp/pocketprune/runs") == []
