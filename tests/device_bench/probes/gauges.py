"""A simulated fuel gauge: what the sampler on a phone would have printed."""

import random

from device_bench.probes.battery import LoadRun

IDLE_S, LOAD_S, STEP_S = 20.0, 60.0, 0.2
VOLTS = 4.0
LOAD = LoadRun(start_s=1000 + IDLE_S, end_s=1000 + IDLE_S + LOAD_S, busy_s=LOAD_S - 1, inferences=590)


def gauge_text(
    idle_a: float = 0.25,
    load_a: float = 0.85,
    *,
    unit_a: float = 1e-6,
    sign: int = -1,
    renewed_s: float = 0.5,
    lag_s: float = 1.0,
    counter_step_uah: int | None = 100,
    source: str = "sysfs",
    noise_a: float = 0.02,
    seed: int = 0,
) -> str:
    """Lines `uptime current voltage charge` of idle, load and idle, as a gauge of that kind shows them."""
    rng = random.Random(seed)
    lines, charge_uah, shown, renewed_at = [f"source {source} battery"], 2_000_000.0, "", -1e9
    step_s = STEP_S if source == "sysfs" else 2.0
    for i in range(round((2 * IDLE_S + LOAD_S) / step_s)):
        now_s = 1000 + i * step_s
        seen_s = now_s - lag_s
        real_a = load_a if LOAD.start_s <= now_s < LOAD.end_s else idle_a
        charge_uah -= real_a * step_s / 3600 * 1e6
        if now_s - renewed_at >= renewed_s - 1e-6:
            renewed_at = now_s
            amperes = (load_a if LOAD.start_s <= seen_s < LOAD.end_s else idle_a) + rng.gauss(0, noise_a)
            volts = VOLTS * (1e6 if source == "sysfs" else 1e3) + rng.randrange(3)
            shown = f"{round(sign * amperes / unit_a)} {round(volts)}"
        counter = "-" if counter_step_uah is None else str(int(charge_uah // counter_step_uah * counter_step_uah))
        lines.append(f"{now_s:.2f} {shown} {counter}")
    return "\n".join([*lines, ""])
