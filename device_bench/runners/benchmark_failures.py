"""What went wrong where `benchmark_model` gave no measurement."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NoReturn

from device_bench.errors import DeviceUnavailableError, RunnerError, UsageError
from device_bench.process import LIKELY, last_lines, signal_name
from device_bench.shell import Finished

# What LiteRT says of a file that it does not take (model_builder.cc, interpreter_builder.cc and the tool's own).
_REFUSES = re.compile(
    r"not a valid Flatbuffer|Failed to (?:initialize model loader|load model|initialize the interpreter|compile model)"
    r"|Didn't find op for builtin opcode|unresolved custom op|model identifier|schema version .* not equal"
    r"|Could not (?:open|mmap)|Failed to allocate tensors|Input tensor .* should have|Inputs mismatch"
    r"|It should be \d+ byte",
    re.IGNORECASE,
)
_NO_DELEGATE = re.compile(r"Failed to apply (.{1,60}?) delegate|Disallowed CPU fallback detected")

# What Android's C library says of a process that a signal ends (debuggerd_handler.cpp); an app has no exit code.
_CRASHED = re.compile(r"Fatal signal (\d{1,2})\b")


def raise_failure(finished: Finished, model: Path) -> NoReturn:
    """Raise what fits a run of the tool that gave nothing.

    Raises:
        UsageError: LiteRT refuses the model file.
        DeviceUnavailableError: the device lacks the delegate, or it takes no such network.
        RunnerError: anything else; the text ends with the tool's last lines.
    """
    said = last_lines(finished.stdout, finished.stderr)
    text = finished.stderr + "\n" + finished.stdout
    crashed = _CRASHED.search(text)
    name = signal_name(128 + int(crashed[1]) if crashed else finished.exit_code)
    if name:
        raise RunnerError(f"{model}: benchmark_model was ended by {name}{LIKELY.get(name, '')}{said}")
    if finished.exit_code in (126, 127):
        raise RunnerError(
            f"{model}: benchmark_model cannot be executed there (exit code {finished.exit_code}); it must be built for "
            f"the device's processor and system{said}"
        )
    if (lacking := _NO_DELEGATE.search(text)) is not None:
        raise DeviceUnavailableError(
            f"{model}: {lacking[0]}: the device lacks the delegate, or it does not take this network; "
            f"ask for another accelerator{said}"
        )
    if (refused := next((line for line in text.splitlines() if _REFUSES.search(line[:4000])), None)) is not None:
        raise UsageError(f"{model}: LiteRT cannot load it: {refused.strip()[:400]}; export the model again")
    if finished.exit_code != 0:
        raise RunnerError(f"{model}: benchmark_model ended with exit code {finished.exit_code}{said}")
    raise RunnerError(f"{model}: benchmark_model ended without a measurement (no second `count=` line){said}")
