"""Which runner a device gets: our own where a board has Python and LiteRT, else the official tool, as binary or app."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from device_bench.adb.connection import BASES, AdbConnection
from device_bench.adb.identity import Identity
from device_bench.device import Job, JobResult, Missing
from device_bench.errors import DeviceUnavailableError
from device_bench.load import LoadTrace
from device_bench.probes.battery import LoadRun
from device_bench.records import Accelerator, Delegate, OpTime
from device_bench.runners.benchmark_app import PACKAGE, App
from device_bench.runners.benchmark_model import BenchmarkModel
from device_bench.runners.benchmark_tool import Tool
from device_bench.runners.litert_remote import LitertRemote, find_python
from device_bench.shell import Shell
from device_bench.tools import catalogue, tool_for

TOOL = "benchmark_model"
TOOL_ACCELERATORS: tuple[Accelerator, ...] = ("cpu", "gpu", "npu")
TOOL_DELEGATES: tuple[Delegate, ...] = ("xnnpack", "none", "gpu", "npu", "nnapi")


class DeviceRunner(Protocol):
    def run(self, job: Job, folder: str, around: AbstractContextManager[object] | None = None) -> JobResult:
        """Time a job's models, `around` being entered for the timed part; its `thermal` is left to the caller."""

    def load(self, job: Job, folder: str, seconds: float) -> LoadRun:
        """Keep the device busy with the job's only model for some seconds."""

    def sustain(self, job: Job, folder: str) -> LoadTrace:
        """Keep it busy as `Device.sustain` says."""

    def ops(self, job: Job, folder: str) -> tuple[OpTime, ...] | Missing:
        """Time of each operation of the job's only model."""


@dataclass(frozen=True)
class Choice:
    name: str
    accelerators: tuple[Accelerator, ...]
    delegates: tuple[Delegate, ...]
    make: Callable[[], DeviceRunner]
    """Called when the runner is first needed; a look at a device pushes nothing."""


def choose_runner(connection: AdbConnection, identity: Identity, wanted: str | None = None) -> Choice | None:
    """The first runner that the device has, or None: then `what_to_install` helps.

    Args:
        wanted: a name of `RUNNERS`: that one and no other.

    Raises:
        DeviceUnavailableError: the device lacks the one that is wanted.
    """
    for name in (wanted,) if wanted else RUNNERS:
        if (choice := RUNNERS[name](connection, identity)) is not None:
            return choice
    if wanted is None:
        return None
    raise DeviceUnavailableError(
        f"{connection.description}: the device lacks the runner {wanted!r}: "
        f"{', or '.join(_ways(connection, identity)[wanted])}; or leave `?runner={wanted}` out"
    )


def what_to_install(connection: AdbConnection, identity: Identity) -> str:
    """The remedy where a device has no runner."""
    ways = _ways(connection, identity)
    fitting = ("tool", "app") if identity.android else ("litert", "tool")
    return f"nothing there can run a TFLite file: {', or '.join(way for name in fitting for way in ways[name])}"


def _ways(connection: AdbConnection, identity: Identity) -> dict[str, list[str]]:
    """How a device comes to each runner."""
    abi = _abi(identity)
    builds = [name for name in catalogue().tools if name in (abi, f"{abi}-tflite")]
    fetch = " or ".join(f"`pocketprune fetch-tools --abi {name}`" for name in sorted(builds, reverse=True))
    fetch = f"run {fetch} (it is pushed by itself)" if builds else f"build benchmark_model for {abi}"
    put = f"put a benchmark_model at {connection.base}/tools/{TOOL} on the device"
    return {
        "litert": ["install LiteRT in its Python (`python3 -m pip install ai-edge-litert numpy`)"],
        "tool": [fetch, put],
        "app": ["install the benchmark app (`adb install -g android_aarch64_benchmark_model.apk`)"],
    }


def _litert(connection: AdbConnection, identity: Identity) -> Choice | None:
    python = find_python(connection, ["python3", *(f"{base}/pocketprune/venv/bin/python3" for base in BASES)])
    if python is None:
        return None
    return Choice("litert_runner", ("cpu",), ("xnnpack",), functools.partial(LitertRemote, connection, python))


def _tool(connection: AdbConnection, identity: Identity) -> Choice | None:
    there = _first_file(connection, [f"{base}/pocketprune/tools/{TOOL}" for base in BASES])
    if there is not None:
        return Choice(TOOL, TOOL_ACCELERATORS, TOOL_DELEGATES, functools.partial(_put_there, connection, there))
    # TensorFlow Lite's first: it writes its outputs, so that they can be compared.
    here = tool_for(f"{_abi(identity)}-tflite") or tool_for(_abi(identity))
    if here is not None:
        return Choice(TOOL, TOOL_ACCELERATORS, TOOL_DELEGATES, functools.partial(_pushed, connection, here))
    return None


def _app(connection: AdbConnection, identity: Identity) -> Choice | None:
    if not identity.android:
        return None
    # An app bundle has several APKs; the official one is one file.
    package = connection.run(["pm", "path", PACKAGE]).stdout.partition("\n")[0].strip()
    if not package.startswith("package:/"):
        return None
    make = functools.partial(_installed, connection, package.removeprefix("package:"))
    return Choice(App.runner, TOOL_ACCELERATORS, TOOL_DELEGATES, make)


RUNNERS: dict[str, Callable[[AdbConnection, Identity], Choice | None]] = {"litert": _litert, "tool": _tool, "app": _app}
"""By the names that `?runner=` of a device spec has for them; the first that a device has is taken."""


def _abi(identity: Identity) -> str:
    """The device's name in the catalogue of tools."""
    return identity.info.abi if identity.android else f"linux-{identity.info.abi}"


def _first_file(shell: Shell, paths: Sequence[str]) -> str | None:
    found = shell.run(["sh", "-c", 'for path; do [ -s "$path" ] && echo "$path" && exit; done', "sh", *paths]).stdout
    return found.removesuffix("\n") or None


def _npu_libraries(connection: AdbConnection) -> str | None:
    """Our tools' folder on the device, if what LiteRT needs for an NPU lies there."""
    folder = f"{connection.base}/tools"
    listed = connection.run(["ls", folder]).stdout.split()
    return folder if any(name.startswith("libLiteRtDispatch_") for name in listed) else None


def _put_there(connection: AdbConnection, path: str) -> DeviceRunner:
    connection.run(["chmod", "755", path], check=True)
    return BenchmarkModel(Tool(connection, path, connection.sha256(path), _npu_libraries(connection)))


def _pushed(connection: AdbConnection, path: Path) -> DeviceRunner:
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    there = connection.cached(path, f"-{TOOL}", mode=0o755)
    return BenchmarkModel(Tool(connection, there, sha256, _npu_libraries(connection)))


def _installed(connection: AdbConnection, apk: str) -> DeviceRunner:
    return BenchmarkModel(App(connection, connection.sha256(apk)))
