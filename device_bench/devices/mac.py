"""Core ML on this Mac itself, in a process of its own for every job. Spec: `mac`."""

from __future__ import annotations

from pathlib import Path

from device_bench.coreml import RUNNER, CoreMLDevice, RunnerOutput, target
from device_bench.device import Device, Missing
from device_bench.devices import DeviceListing
from device_bench.devices.host import host_info
from device_bench.errors import UsageError
from device_bench.process import run_process
from device_bench.records import Accelerator, DeviceInfo, ThermalState
from device_bench.xcode import Xcode, is_mac, unavailable

EXAMPLE = None
SYSTEM = "macos14.0"
HOT = ("serious", "critical")


def connect(spec: str) -> Device:
    if spec not in ("mac", "mac://"):
        raise UsageError(f"device {spec!r}: there is only one Mac here; write `mac`")
    return MacDevice(Xcode())


def discover() -> list[DeviceListing]:
    if not is_mac():
        return []
    reason = unavailable()
    if reason is None:
        return [DeviceListing(spec="mac", info=host_info(), runner=RUNNER)]
    return [DeviceListing(spec="mac", info=None, reason=reason)]


class MacDevice(CoreMLDevice):
    accelerators: tuple[Accelerator, ...] = ("cpu", "gpu", "ane")

    def info(self) -> DeviceInfo:
        return host_info()

    def power_unavailable(self) -> str:
        return "a Mac tells its power to root alone (powermetrics), and that of the whole machine"

    def _runner(self) -> Path:
        return self._xcode.runner("macosx", target(SYSTEM))

    def _launch(self, runner: Path, folder: Path, timeout_s: float) -> tuple[str, str]:
        return run_process([str(runner), str(folder / "job.json")], "", timeout_s)

    def _thermal(self, output: RunnerOutput) -> ThermalState | Missing:
        """No temperatures: macOS tells a class, and that from `serious` on it slows down what can wait."""
        if not set(output.thermal_states) <= {"nominal", "fair", *HOT}:
            return Missing(reason=f"macOS says its thermal state is {', '.join(output.thermal_states)}")
        throttled = any(state in HOT for state in output.thermal_states)
        return ThermalState(start_c=None, end_c=None, freq_mhz_min=None, freq_mhz_max=None, throttled=throttled)
