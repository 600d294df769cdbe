"""Options that several commands share, and the benchmark spec that some of them make.

The choices are those of `device_bench.records`, written out so that `--help` loads nothing (a test compares them).
"""

from __future__ import annotations

import inspect
import math
import os
import re
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

if TYPE_CHECKING:
    from device_bench.records import BenchSpec


class Accelerator(StrEnum):
    cpu = "cpu"
    gpu = "gpu"
    npu = "npu"
    ane = "ane"


class Delegate(StrEnum):
    xnnpack = "xnnpack"
    none = "none"
    gpu = "gpu"
    nnapi = "nnapi"
    npu = "npu"


class Kind(StrEnum):
    device = "device"
    emulator = "emulator"
    container = "container"
    simulator = "simulator"
    host = "host"
    unknown = "unknown"


class Screen(StrEnum):
    any = "any"
    on = "on"
    off = "off"


Device = Annotated[str, typer.Option(help="Device spec: host, adb://HOST:PORT, ... (see `pocketprune list devices`).")]


def writable(file: Path | None) -> Path | None:
    """Refuse before a measurement what could not be written after it."""
    if file is not None and not file.parent.is_dir():
        raise typer.BadParameter(f"{file}: its folder does not exist; make it first, or give another file")
    if file is not None and not os.access(file.parent, os.W_OK):
        raise typer.BadParameter(f"{file}: its folder cannot be written by this user; give another file")
    return file


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a number of seconds; give a finite one such as 1.0")
    return value


def _cpus(text: str | None) -> str | None:
    well_formed = text is None or re.fullmatch(r"\d{1,4}(-\d{1,4})?(,\d{1,4}(-\d{1,4})?)*", text)
    if not well_formed or (text is not None and not _cpu_numbers(text)):
        raise typer.BadParameter(f"{text!r} names no CPUs; give numbers and rising ranges such as 4-7 or 0,2")
    return text


def _cpu_numbers(text: str) -> tuple[int, ...]:
    ends = [[int(end) for end in part.split("-")] for part in text.split(",")]
    return tuple(sorted({cpu for part in ends for cpu in range(part[0], part[-1] + 1)}))


Json = Annotated[
    Path | None,
    typer.Option("--json", help="Write the results to this file as JSON.", dir_okay=False, callback=writable),
]
Runs = Annotated[int, typer.Option(help="At least this many timed runs in each process.", min=1)]
Warmup = Annotated[int, typer.Option(help="Runs before the clock starts.", min=0)]
Threads = Annotated[int, typer.Option(help="Threads of the runtime.", min=1)]
Processes = Annotated[
    int, typer.Option(help="Processes at least that each time the model; two or more give an interval.", min=1)
]
Precision = Annotated[
    float,
    typer.Option(
        metavar="PERCENT",
        help="Add processes until the 95% interval is this narrow (its half width); 0 adds none.",
        min=0.0,
        max=99.0,
    ),
]
MaxProcesses = Annotated[int, typer.Option(help="Processes at most, repeated ones included.", min=1)]
AllowPartial = Annotated[
    bool, typer.Option("--allow-partial", help="Count a network that the delegate took only in part.")
]
MinSeconds = Annotated[float, typer.Option(help="At least this long in each process.", min=0.0, callback=_finite)]
OnAccelerator = Annotated[Accelerator, typer.Option("--accelerator", help="What the network runs on.")]
ByDelegate = Annotated[
    Delegate | None, typer.Option("--delegate", help="What runs it there; by default the usual one, XNNPACK on a CPU.")
]
Affinity = Annotated[
    str | None, typer.Option(help="CPUs that the runner is pinned to, such as 4-7 or 0,2.", callback=_cpus)
]
ScreenState = Annotated[Screen, typer.Option("--screen", help="State that the screen is brought to before measuring.")]
MinBattery = Annotated[int, typer.Option(help="Battery level (%) below which nothing is measured.", min=0, max=100)]
MaxStartC = Annotated[
    float, typer.Option(help="Battery and skin temperature (C) that is waited for.", min=1.0, callback=_finite)
]
WaitS = Annotated[float, typer.Option(help="Longest wait (s) for that temperature.", min=0.0, callback=_finite)]
MaxOthersCpus = Annotated[
    float, typer.Option(help="CPUs that other programs may keep busy while a model is timed; inf allows any.", min=0.0)
]


def takes_spec(**defaults: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of `make_spec`, and hand it the spec that they make as `spec`.

    Args:
        defaults: those of the command's own, by option.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [parameter for parameter in _parameters(command) if parameter.name != "spec"]
        shared = [p.replace(default=defaults.get(p.name, p.default)) for p in _parameters(make_spec)]

        def called(**given: Any) -> None:
            spec = make_spec(**{parameter.name: given.pop(parameter.name) for parameter in shared})
            command(**given, spec=spec)

        called.__name__, called.__doc__ = command.__name__, command.__doc__
        # Typer reads both: the types from the annotations, the order and the defaults from the signature.
        called.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *shared)}
        called.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
        return called

    return decorate


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """A function's parameters as keywords, their annotations looked up where the function was written."""
    hints = get_type_hints(function, localns={"BenchSpec": Any}, include_extras=True)
    parameters = inspect.signature(function).parameters.values()
    return [p.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[p.name]) for p in parameters]


def make_spec(
    *,
    runs: Runs = 50,
    warmup: Warmup = 10,
    threads: Threads = 1,
    processes: Processes = 3,
    precision: Precision = 0.0,
    max_processes: MaxProcesses = 20,
    allow_partial: AllowPartial = False,
    min_seconds: MinSeconds = 1.0,
    accelerator: OnAccelerator = Accelerator.cpu,
    delegate: ByDelegate = None,
    affinity: Affinity = None,
    screen: ScreenState = Screen.any,
    min_battery: MinBattery = 20,
    max_start_c: MaxStartC = 40.0,
    wait_s: WaitS = 600.0,
    max_others_cpus: MaxOthersCpus = 0.1,
) -> BenchSpec:
    """How models are timed, from the command line.

    Raises:
        typer.BadParameter: options that do not go together.
    """
    from pydantic import ValidationError

    from device_bench.records import BenchSpec

    readiness = {
        "screen": screen.value,
        "min_battery_percent": min_battery,
        "max_start_c": max_start_c,
        "wait_s": wait_s,
        "max_others_cpus": None if math.isinf(max_others_cpus) else max_others_cpus,
    }
    values = {
        "warmup_runs": warmup,
        "timed_runs": runs,
        "min_seconds": min_seconds,
        "processes": processes,
        "precision": precision / 100 or None,
        "max_processes": max_processes,
        "allow_partial": allow_partial,
        "threads": threads,
        "accelerator": accelerator.value,
        "delegate": delegate.value if delegate else None,
        "affinity": _cpu_numbers(affinity) if affinity else None,
        "readiness": readiness,
    }
    try:
        return BenchSpec.model_validate(values)
    except ValidationError as error:
        raise typer.BadParameter(error.errors()[0]["msg"].removeprefix("Value error, ")) from error
