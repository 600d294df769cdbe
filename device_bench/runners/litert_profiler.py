"""Times each operation of a TFLite file: `python litert_profiler.py JOB.json` (or `-`: the job on stdin).

LiteRT's Python interpreter does not tell, but the C API of `libLiteRt.so`, which lies in the same wheel, does: with
profiling on, XNNPACK notes how long each of its operations took, in whole microseconds (it drops the rest, so that each
is up to 1 us too short; what they do not add up to is told as `invoke_ms`). Noting it costs time, and a mistake in a
foreign interface ends the process: this is a pass of its own, in a process of its own, never the timed one.

Runs *on* the device and is one file, as `litert_runner.py`. The last line of stdout is the result: the sentinel, then
one JSON object: {"operations": [{"type", "mean_ms"}, ...], "invoke_ms", "runs"} or {"missing": why}.

Sources: litert/c/*.h in github.com/google-ai-edge/LiteRT; tflite/delegates/xnnpack/xnnpack_delegate.cc there.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import random
import signal
import sys
import time
from array import array
from ctypes import byref, c_bool, c_char_p, c_int, c_size_t, c_uint64, c_void_p
from importlib import metadata
from math import ceil
from typing import Any

SENTINEL = "POCKETPRUNE-RESULT "
VERSIONS = ("2.1.2",)  # the layout of an event is not promised, and other versions were not tried
CPU = 1  # kLiteRtHwAcceleratorCpu
FLOAT32 = 1  # kLiteRtElementTypeFloat32
WRITE = 1  # kLiteRtTensorBufferLockModeWrite
WHOLE_INFERENCE, OF_A_DELEGATE, OF_THE_MODEL = 1, 8, 2  # event types
MAX_EVENTS = 1800  # the profiler keeps the last 2048
MAX_BLOCK = 20  # runs in a row
TENSOR_TYPE_BYTES = 256  # a LiteRtRankedTensorType has 72
JsonObject = dict[str, Any]


class Event(ctypes.Structure):
    """ProfiledEventData; memory_kb is what the process took before and after."""

    _fields_ = (
        ("tag", c_char_p),
        ("type", c_int),
        ("start_us", c_uint64),
        ("elapsed_us", c_uint64),
        ("memory_kb", c_uint64 * 6),
        ("index", c_uint64),
        ("more", c_uint64),
        ("source", c_int),
    )


class Failed(Exception):
    """LiteRT refused; the text says which call."""


class LiteRt:
    """The C API: each function gives a status, and what it finds through a pointer."""

    def __init__(self, path: str) -> None:
        self._library = ctypes.CDLL(path)

    def call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._library, name)(*arguments)
        if status != 0:
            raise Failed(f"{name} gives status {status}")

    def get(self, name: str, *arguments: Any, kind: Any = c_void_p) -> Any:
        """What a function stores where its last argument points."""
        found = kind()
        self.call(name, *arguments, byref(found))
        return found


class ProfiledModel:
    """A model compiled for XNNPACK with profiling on, and its buffers."""

    def __init__(self, api: LiteRt, path: str, threads: int, seed: int) -> None:
        self._api = api
        self._environment = api.get("LiteRtCreateEnvironment", c_int(0), None)
        model = api.get("LiteRtCreateModelFromFile", path.encode())
        options = api.get("LiteRtCreateOptions")
        api.call("LiteRtSetOptionsHardwareAccelerators", options, c_int(CPU))
        self._add(options, "Runtime", "EnableProfiling", c_bool(True))
        self._add(options, "Cpu", "NumThread", c_int(threads))
        self._compiled = api.get("LiteRtCreateCompiledModel", self._environment, model, options)
        graph = api.get("LiteRtGetModelSubgraph", model, c_size_t(0))
        self._inputs = self._buffers(graph, "Input")
        self._outputs = self._buffers(graph, "Output")
        for buffer, is_float in self._inputs:
            self._fill(buffer, is_float, random.Random(seed))
        self._arguments: list[Any] = [c_size_t(0)]
        for buffers in (self._inputs, self._outputs):
            self._arguments += [c_size_t(len(buffers)), (c_void_p * len(buffers))(*[buffer for buffer, _ in buffers])]
        self.profiler = api.get("LiteRtCompiledModelGetProfiler", self._compiled)

    def run(self) -> None:
        self._api.call("LiteRtRunCompiledModel", self._compiled, *self._arguments)

    def _add(self, options: Any, group: str, name: str, value: Any) -> None:
        holder = self._api.get(f"LiteRtCreate{group}Options")
        self._api.call(f"LiteRtSet{group}Options{name}", self._api.get(f"LiteRtFind{group}Options", holder), value)
        self._api.call("LiteRtAddOpaqueOptions", options, holder)

    def _buffers(self, graph: Any, side: str) -> list[tuple[Any, bool]]:
        """(buffer, whether it holds floats) of each input or output."""
        buffers = []
        for i in range(self._api.get(f"LiteRtGetNumSubgraph{side}s", graph, kind=c_size_t).value):
            tensor = self._api.get(f"LiteRtGetSubgraph{side}", graph, c_size_t(i))
            kind = self._api.get("LiteRtGetRankedTensorType", tensor, kind=ctypes.c_char * TENSOR_TYPE_BYTES)
            needs = f"LiteRtGetCompiledModel{side}BufferRequirements"
            asked = self._api.get(needs, self._compiled, c_size_t(0), c_size_t(i))
            create = "LiteRtCreateManagedTensorBufferFromRequirements"
            buffer = self._api.get(create, self._environment, byref(kind), asked)
            buffers.append((buffer, c_int.from_buffer(kind).value == FLOAT32))
        return buffers

    def _fill(self, buffer: Any, is_float: bool, chance: random.Random) -> None:
        """Seeded normal numbers, or zeros: what lies in fresh memory may be no number at all, and slow."""
        size = self._api.get("LiteRtGetTensorBufferSize", buffer, kind=c_size_t).value
        values = array("f", (chance.gauss(0, 1) for _ in range(size // 4 if is_float else 0))).tobytes()
        memory = c_void_p()
        self._api.call("LiteRtLockTensorBuffer", buffer, byref(memory), c_int(WRITE))
        ctypes.memset(memory, 0, size)
        ctypes.memmove(memory, values, len(values))
        self._api.call("LiteRtUnlockTensorBuffer", buffer)


def profile(api: LiteRt, model: ProfiledModel, job: JsonObject) -> JsonObject:
    """Run until both minima are reached, and average each operation over the runs."""
    model.run()
    block = max(2, min(MAX_BLOCK, MAX_EVENTS // max(1, len(events_of(api, model, 1)[0]))))
    runs: list[list[Any]] = []
    ends_s = time.monotonic() + job["min_seconds"]
    while len(runs) < job["min_runs"] or time.monotonic() < ends_s:
        runs += events_of(api, model, block)[1:]  # reading the events has emptied the caches
    return averages(runs)


def events_of(api: LiteRt, model: ProfiledModel, n: int) -> list[list[Any]]:
    """The (event type, tag, index, us) of each of n runs in a row; a run starts with the first tag of all."""
    api.call("LiteRtResetProfiler", model.profiler)
    api.call("LiteRtStartProfiler", model.profiler)
    for _ in range(n):
        model.run()
    api.call("LiteRtStopProfiler", model.profiler)
    number = api.get("LiteRtGetNumProfilerEvents", model.profiler, kind=c_int)
    found = (Event * max(1, number.value))()
    api.call("LiteRtGetProfilerEvents", model.profiler, number, found)
    events = [(event.type, event.tag or b"", event.index, event.elapsed_us) for event in found]
    starts = [i for i, event in enumerate(events) if event[:2] == events[0][:2]]
    return [events[start:end] for start, end in zip(starts, [*starts[1:], None])]  # noqa: B905 - `strict` is younger than the Pythons of boards


def averages(runs: list[list[Any]]) -> JsonObject:
    """Mean of each operation over the middle half of the runs, by how long an inference took, in the order of a run.

    What interrupts one run stays out.
    """
    taken: list[tuple[int, list[int]]] = []
    first: list[Any] = []
    for events in runs:
        whole_us = [us for kind, tag, _, us in events if kind == WHOLE_INFERENCE and tag == b"Invoke"]
        operations = [event for event in events if event[0] in (OF_THE_MODEL, OF_A_DELEGATE)]
        named = [event[:3] for event in operations]
        first = first or named
        if len(whole_us) != 1 or named != first or not named:
            return {"missing": "LiteRT's profiler did not note the same operations in every inference"}
        taken.append((whole_us[0], [event[3] for event in operations]))
    taken.sort(key=lambda run: run[0])
    middle = taken[len(taken) // 4 : max(1, 3 * len(taken) // 4)]
    n = len(middle)
    sums = [sum(operations[i] for _, operations in middle) for i in range(len(first))]
    means = [
        {"type": tag.decode(errors="replace"), "mean_ms": us / n / 1e3}
        for (_, tag, _), us in zip(first, sums)  # noqa: B905 - `strict` is younger than the Pythons of boards
    ]
    return {"operations": means, "invoke_ms": sum(us for us, _ in middle) / n / 1e3, "runs": n}


def run(job: JsonObject) -> JsonObject:
    if hasattr(signal, "SIGALRM"):
        signal.alarm(ceil(job["timeout_s"]) + 5)  # nobody may be left to kill us: end by ourselves
    try:
        version = metadata.version("ai-edge-litert")
    except metadata.PackageNotFoundError:
        version = "of another name"
    place = importlib.util.find_spec("ai_edge_litert")
    if version not in VERSIONS or place is None or place.origin is None:
        return {"missing": f"read from the C API of LiteRT {' or '.join(VERSIONS)}; here is LiteRT {version}"}
    library = os.path.join(os.path.dirname(place.origin), "libLiteRt.so")
    if not os.path.exists(library) or ctypes.sizeof(c_void_p) != 8:
        return {"missing": "this LiteRT has no libLiteRt.so of 64 bits, whose C API gives them"}
    if job["affinity"] is not None:
        os.sched_setaffinity(0, job["affinity"])  # type: ignore[attr-defined,unused-ignore]
    try:
        api = LiteRt(library)
        return profile(api, ProfiledModel(api, job["path"], job["threads"], job["seed"]), job)
    except (Failed, AttributeError, OSError) as error:
        return {"missing": f"LiteRT's profiler: {error}"}


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: litert_profiler.py JOB.json (or -)")
    if sys.argv[1] == "-":
        job = json.load(sys.stdin)
    else:
        with open(sys.argv[1]) as file:
            job = json.load(file)
    print("\n" + SENTINEL + json.dumps(run(job)), flush=True)
    sys.stdout.flush()
    os._exit(0)  # LiteRT's own tidying up is none of our business, and has nothing to add


if __name__ == "__main__":
    main()
