"""What difference can be seen on a device."""

from __future__ import annotations

from collections.abc import Sequence

from device_bench.device import Missing
from device_bench.noise_run import DeviceNoise
from device_bench.records import NoiseFloor
from pipeline.terminal.tables import folded, new_table, processes, show


def print_device_noise(known: NoiseFloor | Missing, of: str = "") -> None:
    """One sentence.

    Args:
        of: what it is said of, where that is not the only thing that was measured.
    """
    if isinstance(known, Missing):
        said = f"not known: {known.reason}"
    else:
        said = f"{_floor(known)} with {processes(known.processes)}; {_learned(known)}"
    print(folded(f"noise floor of this device{f' for {of}' if of else ''}: {said}"))


def print_noise_of_models(names: Sequence[str], known: Sequence[NoiseFloor | Missing]) -> None:
    """What is known for each model's size; models of which the same is known share a sentence."""
    sharing: list[tuple[NoiseFloor | Missing, list[str]]] = []
    for name, one in zip(names, known, strict=True):
        alike = next((called for other, called in sharing if other == one), None)
        if alike is None:
            sharing.append((one, [name]))
        else:
            alike.append(name)
    for one, called in sharing:
        print_device_noise(one, ", ".join(called) if len(sharing) > 1 else "")


def print_noise(noise: DeviceNoise) -> None:
    """What can be seen on a device, by how many processes; below it what that was learned from."""
    if noise.floors:
        table = new_table(("processes", "right"), ("noise floor", "right"), ("95% interval", "right"))
        table.add_column("found in 90%", justify="right")
        for one in noise.floors:
            low, high = one.ci95
            table.add_row(f"{one.processes}", _floor(one), f"{low:.1%} to {high:.1%}", f"{one.visible:.1%}")
        show(table)
        told = {one.processes: _floor(one) for one in noise.floors}
        print(f"differences below {told[3]} cannot be told here with 3 processes, below {told[5]} with 5")
        print(folded(_learned(noise.floors[0])))
    else:
        print(folded(f"noise floor not known: {noise.missing['floors']}"))
    called = sum(verdict != "inconclusive" for verdict in noise.verdicts)
    print(f"now: {len(noise.verdicts)} comparisons of a file with itself, {called} found a difference")
    print(f"device: {noise.device.id} ({noise.device.kind}), {noise.device.model}, {noise.device.os}")
    print(f"runtime: {noise.runtime.name} {noise.runtime.version}, {noise.spec.threads} thread(s)")
    for rejection in noise.rejections:
        print(folded(f"rejected: {rejection}"))


def _floor(known: NoiseFloor) -> str:
    return f"{known.floor:.1%}"


def _learned(known: NoiseFloor) -> str:
    low, high = (f"{ms:.2g}" for ms in known.models_ms)
    span = f"{low} ms" if low == high else f"{low} to {high} ms"
    return (
        f"learned from {processes(known.n)} in {known.sittings} sitting(s) since {known.period[0][:10]}, "
        f"models of {span}"
    )
