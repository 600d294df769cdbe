"""Which runner a device gets: our own where a board has Python and LiteRT, else the official `benchmark_model`."""

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
from device_bench.device import Job, JobResult
from device_bench.probes.battery import LoadRun
from device_bench.records import Accelerator, Delegate
from device_bench.runners.benchmark_model import BenchmarkModel
from device_bench.runners.litert_remote import LitertRemote, find_python
from device_bench.shell import Shell
from device_bench.tools import tool_for

TOOL = "benchmark_model"


class DeviceRunner(Protocol):
    def run(self, job: Job, folder: str, around: AbstractContextManager[object] | None = None) -> JobResult:
        """Time a job's models, `around` being entered for the timed part; its `thermal` is left to the caller."""

    def load(self, job: Job, folder: str, seconds: float) -> LoadRun:
        """Keep the device busy with the job's only model for some seconds."""


@dataclass(frozen=True)
class Choice:
    name: str
    accelerators: tuple[Accelerator, ...]
    delegates: tuple[Delegate, ...]
    make: Callable[[], DeviceRunner]
    """Called when the runner is first needed; a look at a device pushes nothing."""


def choose_runner(connection: AdbConnection, identity: Identity) -> Choice | None:
    """The device's runner, or None: then `what_to_install` helps."""
    folders = [f"{base}/pocketprune" for base in BASES]
    python = find_python(connection, ["python3", *(f"{folder}/venv/bin/python3" for folder in folders)])
    if python is not None:
        make = functools.partial(LitertRemote, connection, python)
        return Choice("litert_runner", ("cpu",), ("xnnpack",), make)
    delegates: tuple[Delegate, ...] = ("xnnpack", "none", "gpu", "npu", "nnapi")
    if (there := _first_file(connection, [f"{folder}/tools/{TOOL}" for folder in folders])) is not None:
        return Choice(TOOL, ("cpu", "gpu", "npu"), delegates, functools.partial(_put_there, connection, there))
    if (here := tool_for(_abi(identity))) is not None:
        return Choice(TOOL, ("cpu", "gpu", "npu"), delegates, functools.partial(_pushed, connection, here))
    return None


def what_to_install(connection: AdbConnection, identity: Identity) -> str:
    """The remedy where a device has no runner."""
    fetch = f"run `pocketprune fetch-tools --abi {_abi(identity)}` (it is pushed by itself)"
    put = f"put a benchmark_model at {connection.base}/tools/{TOOL} on the device"
    python = "install LiteRT in its Python (`python3 -m pip install ai-edge-litert numpy`)"
    ways = [fetch, put] if identity.android else [python, fetch, put]
    return f"nothing there can run a TFLite file: {', or '.join(ways)}"


def _abi(identity: Identity) -> str:
    """The device's name in the catalogue of tools."""
    return identity.info.abi if identity.android else f"linux-{identity.info.abi}"


def _first_file(shell: Shell, paths: Sequence[str]) -> str | None:
    found = shell.run(["sh", "-c", 'for path; do [ -s "$path" ] && echo "$path" && exit; done', "sh", *paths]).stdout
    return found.removesuffix("\n") or None


def _put_there(connection: AdbConnection, path: str) -> DeviceRunner:
    connection.run(["chmod", "755", path], check=True)
    return BenchmarkModel(connection, path, hashlib.sha256(connection.pull(path)).hexdigest())


def _pushed(connection: AdbConnection, path: Path) -> DeviceRunner:
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return BenchmarkModel(connection, connection.cached(path, f"-{TOOL}", mode=0o755), sha256)
