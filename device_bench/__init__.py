"""Measures a model file on a device. Knows nothing of torch or of pruning.

    benchmark(model_path, device="host", spec=None) -> Measurement
    benchmark_many(paths, device="host", spec=None) -> list[Measurement]
    compare(paths, device="host", spec=None) -> ComparisonResult
    noise_floor(path, device="host", spec=None) -> DeviceNoise
    sustained(paths, device="host", spec=None, minutes=10) -> list[SustainedRun]
    open_device(spec) -> Device
    list_devices() -> list[DeviceListing]

Names are imported when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from device_bench.bench import benchmark, benchmark_many
    from device_bench.devices import list_devices, open_device
    from device_bench.endurance import sustained
    from device_bench.interleave import compare
    from device_bench.noise_run import noise_floor

__all__ = ["benchmark", "benchmark_many", "compare", "list_devices", "noise_floor", "open_device", "sustained"]

_HOMES = {
    "benchmark": "device_bench.bench",
    "benchmark_many": "device_bench.bench",
    "compare": "device_bench.interleave",
    "list_devices": "device_bench.devices",
    "noise_floor": "device_bench.noise_run",
    "open_device": "device_bench.devices",
    "sustained": "device_bench.endurance",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
