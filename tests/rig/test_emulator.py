"""The same file computes the same on ARM: off by default, since qemu takes its time (POCKETPRUNE_EMULATOR=1)."""

from __future__ import annotations

from pathlib import Path

import device_bench
from device_bench.records import BenchSpec
from tests.busy_machine import ANY_LOAD
from tests.device_bench.golden import with_golden
from tests.device_bench.tiny_models import tiny_tflite
from tests.rig.device import RigDevice

__all__ = ["tiny_tflite"]


def test_a_model_gives_the_hosts_outputs_on_arm64(rig_emulator: RigDevice, tiny_tflite: Path, tmp_path: Path) -> None:
    model = with_golden(tiny_tflite, tmp_path / "model.tflite")
    spec = BenchSpec(warmup_runs=1, timed_runs=5, min_seconds=0.0, readiness=ANY_LOAD)
    measured = device_bench.benchmark(model, device=rig_emulator.spec, spec=spec)
    assert (measured.device.kind, measured.device.abi) == ("emulator", "aarch64")
    assert measured.valid, "a golden output that differs would have been a rejection"
    assert measured.delegate and measured.delegate.name == "XNNPACK"
