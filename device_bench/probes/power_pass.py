"""Power of a phone or board in a pass of its own: idle, a load of a minute, idle; the device samples itself.

Rails are taken where the phone meters them (they are the chip's own, and right while charging), else the battery's
current times its voltage. `dumpsys batterystats` is not used: it is the maker's model of what things cost times how
long they ran, and no measurement.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from device_bench.device import Missing
from device_bench.probes import battery, calibration, rails
from device_bench.probes.battery import LoadRun
from device_bench.probes.power import from_windows
from device_bench.probes.state import DeviceState, read_state
from device_bench.records import PowerUse
from device_bench.shell import Shell

IDLE_S = 20.0
LOAD_S = 60.0
SLACK_S = 600.0
"""What loading a model, or a link that breaks, may take besides; the sampler ends by itself afterwards."""
LONGEST_S = 2 * IDLE_S + LOAD_S + SLACK_S
NO_BATTERY = "the device has neither metered power rails nor a battery"
CHARGING = "a charger is attached, so the battery's current is not the load's; unplug it and connect over the network"
FROZEN = "the battery service is frozen and shows what it was told; run `dumpsys battery reset` on the device"


class Sampling(Protocol):
    """A program that runs detached on the device, its output going to a file there."""

    def stop(self) -> str:
        """End it, remove what it left and return what it printed."""


StartSampling = Callable[[Sequence[str]], Sampling]


def measure_power(
    shell: Shell,
    start: StartSampling,
    run_load: Callable[[float], LoadRun],
    device_id: str,
    calibration_path: Path | None = None,
    sleep: Callable[[float], None] = time.sleep,
    tell: Callable[[str], None] = lambda text: None,
) -> PowerUse | Missing:
    """Power and energy of one inference.

    Args:
        start: starts a program on the device, detached.
        run_load: runs the model there for so many seconds and says when, on the clock of the device's uptime.
        calibration_path: where the battery's unit and sign are kept; None takes the user's state folder.
        tell: told which part of the pass has begun.

    Raises:
        DeviceBenchError: the link, or what `run_load` raises; the sampler is ended all the same.
    """
    if _has_rails(shell):
        text, load = _sample(start, rails.sampler_argv(LONGEST_S), run_load, sleep, tell)
        return rails.rails_power(rails.parse_trace(text), load)
    reason = battery_unusable(read_state(shell))
    if reason is not None:
        return Missing(reason=reason)
    text, load = _sample(start, battery.sampler_argv(LONGEST_S), run_load, sleep, tell)
    reason = battery_unusable(read_state(shell))
    if reason is not None:
        return Missing(reason=reason)
    return battery_power(text, load, device_id, calibration_path or calibration.default_path(device_id))


def power_unavailable(shell: Shell) -> str | None:
    """Why power cannot be measured as things are; None where there are rails, or a battery that nothing charges."""
    return None if _has_rails(shell) else battery_unusable(read_state(shell))


def _has_rails(shell: Shell) -> bool:
    return bool(rails.parse_rails(shell.run(["dumpsys", rails.SERVICE]).stdout))


def battery_unusable(state: DeviceState) -> str | None:
    """Why the battery's current says nothing about the load; None where it does."""
    if not state.has_battery:
        return NO_BATTERY
    if state.battery_frozen:
        return FROZEN
    if state.powered is None:
        return "the device does not say whether it is being charged"
    return CHARGING if state.powered else None


def battery_power(text: str, load: LoadRun, device_id: str, path: Path) -> PowerUse | Missing:
    """Power from the battery sampler's text; remembers the device's unit and sign in `path`."""
    trace = battery.parse_trace(text)
    if isinstance(trace, Missing):
        return trace
    phases = battery.cut(trace, load)
    if isinstance(phases, Missing):
        return phases
    found = calibration.calibrate(trace, phases, device_id)
    try:
        held = calibration.reconcile(found, path, calibration.source_name(trace))
    except OSError as error:
        return Missing(
            reason=f"the calibration of this device's battery cannot be kept in {path} ({error.strerror}); "
            "set XDG_STATE_HOME to a folder that can be read and written"
        )
    if isinstance(held, Missing):
        return held
    to_mw = 1e3 * held.signed_unit_a
    method = (
        f"battery current x voltage ({calibration.source_name(trace)}, renewed about every {phases.renewed_s:.2g} s, "
        f"windows of {phases.window_s:.2g} s), unit and sign by a load step and the {held.by}; "
        "idle before and after taken off"
    )
    return from_windows(
        [power * to_mw for power in phases.load_power],
        [power * to_mw for power in phases.idle_power],
        load.s_per_run,
        method,
    )


def _sample(
    start: StartSampling,
    argv: Sequence[str],
    run_load: Callable[[float], LoadRun],
    sleep: Callable[[float], None],
    tell: Callable[[str], None],
) -> tuple[str, LoadRun]:
    """Idle, load, idle with the sampler running all along."""
    sampling = start(argv)
    try:
        tell(f"power: idle for {IDLE_S:g} s")
        sleep(IDLE_S)
        tell(f"power: load for {LOAD_S:g} s")
        load = run_load(LOAD_S)
        tell(f"power: idle for {IDLE_S:g} s")
        sleep(IDLE_S)
    except BaseException:  # Ctrl-C included: nothing of ours may run on
        sampling.stop()
        raise
    return sampling.stop(), load
