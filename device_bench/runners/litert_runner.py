"""Times TFLite files with LiteRT: `python litert_runner.py JOB.json` (or `-`: the job on stdin).

Runs *on* the device, in a process of its own, so that its memory figures mean something. It is one file that needs
nothing but Python >= 3.9, numpy and ai_edge_litert, and can be pushed anywhere. The last line of stdout is the result:
the sentinel, then one JSON object. A model that LiteRT refuses is a result too: {"refused": {"path", "message"}}.
A job with `window_s` is a load that goes on: a line for each window of it, as it ends, and no result.
"""

from __future__ import annotations

import base64
import gc
import json
import os
import random
import signal
import sys
import time
from array import array
from importlib import metadata
from math import ceil
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

SENTINEL = "POCKETPRUNE-RESULT "
WINDOW = "POCKETPRUNE-WINDOW "
MIN_ROUNDS = 10  # of turns, when several models are timed: a ratio's interval needs some
clock_ns = time.perf_counter_ns
JsonObject = dict[str, Any]


class Refused(Exception):
    """LiteRT cannot load this file, or its golden arrays do not fit it: (path, message)."""


class LoadedModel:
    """An interpreter with its inputs set, and what was timed on it so far."""

    def __init__(self, model: JsonObject, threads: int, seed: int) -> None:
        self.path: str = model["path"]
        self.golden: JsonObject | None = model["golden"]
        self.blocks_ns: list[array[int]] = []
        self.wall_ns = 0
        start = clock_ns()
        try:
            # XNNPACK is LiteRT's default delegate; it comes by itself.
            self.interpreter = Interpreter(model_path=self.path, num_threads=threads)
            self.interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise Refused(self.path, "LiteRT cannot load it: " + " ".join(str(error).split()).rstrip(".")) from error
        self.init_ms = (clock_ns() - start) / 1e6
        self.set_inputs(self.example(0)[0] if self.golden else random_inputs(self.interpreter, seed))
        start = clock_ns()
        self.interpreter.invoke()
        self.first_ms = (clock_ns() - start) / 1e6
        self.estimate_s = self.first_ms / 1e3

    def set_inputs(self, inputs: list[Any]) -> None:
        try:
            for i, detail in enumerate(self.interpreter.get_input_details()):
                self.interpreter.set_tensor(detail["index"], inputs[i])
        except ValueError as error:
            raise Refused(self.path, "its golden inputs do not fit it: " + str(error)) from error

    def example(self, number: int) -> tuple[list[Any], list[Any]]:
        """Golden inputs and outputs of one example; with k inputs, each k golden arrays in a row are one example."""
        assert self.golden is not None
        n_in = len(self.interpreter.get_input_details())
        n_out = len(self.interpreter.get_output_details())
        inputs = self.golden["inputs"][number * n_in : (number + 1) * n_in]
        outputs = self.golden["outputs"][number * n_out : (number + 1) * n_out]
        if len(inputs) != n_in or len(outputs) != n_out:
            rule = f"{n_in} arrays in and {n_out} out make an example"
            raise Refused(self.path, "its golden arrays do not make whole examples: " + rule)
        return [decode(tensor) for tensor in inputs], [decode(tensor) for tensor in outputs]

    def warm_up(self, runs: int) -> None:
        for _ in range(runs):
            start = clock_ns()
            self.interpreter.invoke()
            self.estimate_s = min(self.estimate_s, (clock_ns() - start) / 1e9)

    def time_block(self, min_runs: int, min_seconds: float) -> None:
        """Time single invocations until both minima are reached."""
        invoke = self.interpreter.invoke
        samples = array("q")  # eight bytes each: a long run must not show in the memory figures
        keep = samples.append
        min_ns = int(min_seconds * 1e9)
        start = end = clock_ns()
        while len(samples) < min_runs or end - start < min_ns:
            begin = clock_ns()
            invoke()
            end = clock_ns()
            keep(end - begin)
        self.blocks_ns.append(samples)
        self.wall_ns += end - start

    def has(self, runs: int, seconds: float) -> bool:
        return self.wall_ns >= seconds * 1e9 and sum(map(len, self.blocks_ns)) >= runs

    def golden_error(self) -> float | None:
        """Largest difference from the golden outputs over the largest of them; infinite where one is not a number."""
        if not self.golden:
            return None
        worst = 0.0
        details = self.interpreter.get_output_details()
        for number in range(max(1, len(self.golden["inputs"]) // len(self.interpreter.get_input_details()))):
            inputs, expected = self.example(number)
            self.set_inputs(inputs)
            self.interpreter.invoke()
            for i, detail in enumerate(details):
                worst = max(worst, relative_error(self.interpreter.get_tensor(detail["index"]), expected[i]))
        return worst

    def result(self) -> JsonObject:
        delegate, missing = delegate_use(self.interpreter)
        return {
            "init_ms": self.init_ms,
            "first_ms": self.first_ms,
            "blocks": [[ns / 1e6 for ns in block] for block in self.blocks_ns],
            "wall_s": self.wall_ns / 1e9,
            "golden_error": self.golden_error(),
            "delegate": delegate,
            "missing": missing,
        }


def decode(tensor: JsonObject) -> Any:
    """An array from the sidecar's form: little-endian bytes in base64."""
    flat = np.frombuffer(base64.b64decode(tensor["data"]), dtype=np.dtype(tensor["dtype"]).newbyteorder("<"))
    return flat.reshape(tensor["shape"]).astype(tensor["dtype"])


def relative_error(actual: Any, expected: Any) -> float:
    if actual.shape != expected.shape:
        return float("inf")
    difference = np.abs(actual.astype(np.float64) - expected.astype(np.float64)).max()
    scale = np.abs(expected.astype(np.float64)).max()
    error = float(difference / scale) if scale else float(difference)
    return error if np.isfinite(error) else float("inf")


def random_inputs(interpreter: Any, seed: int) -> list[Any]:
    generator = np.random.default_rng(seed)
    inputs = []
    for detail in interpreter.get_input_details():
        dtype = np.dtype(detail["dtype"])
        if np.issubdtype(dtype, np.integer):
            limits = np.iinfo(dtype)
            inputs.append(generator.integers(limits.min, limits.max, detail["shape"], dtype=dtype, endpoint=True))
        else:
            inputs.append(generator.standard_normal(detail["shape"]).astype(dtype))
    return inputs


def delegate_use(interpreter: Any) -> tuple[JsonObject | None, JsonObject]:
    """How much of the model the delegate took.

    After allocate_tensors() the list of operations holds the model's own and, after them, one DELEGATE per partition.
    What really runs is found by walking back from the outputs, taking the DELEGATE where it produces a tensor too.
    """
    if not hasattr(interpreter, "_get_ops_details"):
        return None, {"delegate": "this LiteRT does not list its operations"}
    operations = interpreter._get_ops_details()
    outputs = [detail["index"] for detail in interpreter.get_output_details()]
    own = [operation for operation in operations if operation["op_name"] != "DELEGATE"]
    delegated = [operation for operation in operations if operation["op_name"] == "DELEGATE"]
    total = reachable(own, outputs)
    executed = reachable(own + delegated, outputs)
    outside = sum(operation["op_name"] != "DELEGATE" for operation in executed)
    return {
        "name": "XNNPACK",
        "partitions": len(delegated),
        "nodes_delegated": len(total) - outside,
        "nodes_total": len(total),
    }, {}


def reachable(operations: list[Any], tensors: list[int]) -> list[Any]:
    """Operations that the tensors depend on; of two producers of a tensor the later one counts."""
    producer = {int(tensor): operation for operation in operations for tensor in operation["outputs"]}
    waiting, seen, found = list(tensors), set(), {}
    while waiting:
        tensor = int(waiting.pop())
        if tensor in seen:
            continue
        seen.add(tensor)
        if tensor in producer:
            operation = producer[tensor]
            found[operation["index"]] = operation
            waiting.extend(operation["inputs"])
    return list(found.values())


def load_models(job: JsonObject) -> list[LoadedModel]:
    """All models, loaded in a random order: where in memory one lies makes some per cent, and the first is slowest."""
    order = list(range(len(job["models"])))
    random.Random(job["seed"]).shuffle(order)
    loaded = {i: LoadedModel(job["models"][i], job["threads"], job["seed"]) for i in order}
    return [loaded[i] for i in range(len(order))]


def time_models(models: list[LoadedModel], job: JsonObject) -> None:
    """One model in one go; several in turns, each round in a random order and the next in its reverse."""
    runs, seconds = job["timed_runs"], job["min_seconds"]
    if len(models) == 1:
        models[0].time_block(runs, seconds)
        return
    turns = [turn_length(model.estimate_s, job) for model in models]
    shuffle = random.Random(job["seed"]).shuffle
    order = list(range(len(models)))
    round_number = 0
    while round_number < MIN_ROUNDS or not all(model.has(runs, seconds) for model in models):
        if round_number % 2:
            order.reverse()
        else:
            shuffle(order)
        for i in order:
            models[i].warm_up(1)  # the neighbour's turn has emptied the caches
            models[i].time_block(turns[i], 0.0)
        round_number += 1


def turn_length(estimate_s: float, job: JsonObject) -> int:
    """Runs of one turn: `block_s` seconds of them, but few enough that MIN_ROUNDS rounds are not too many."""
    wanted: float = max(job["timed_runs"], job["min_seconds"] / estimate_s)
    turn_s: float = job["block_s"]
    return max(1, min(ceil(turn_s / estimate_s), ceil(wanted / MIN_ROUNDS)))


def process_status() -> str | None:
    """The kernel's text about this process (VmRSS, VmHWM); None where there is no /proc."""
    try:
        with open("/proc/self/status") as file:
            return file.read()
    except OSError:
        return None


def cpu_times(threads: int) -> JsonObject:
    """The kernel's text about all CPUs, and seconds that our threads ran and were ready but waited for a CPU."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    waited = waited_s() if threads <= cpus else None  # threads that outnumber their CPUs wait for each other
    return {"stat": stat_line(), "own_s": time.process_time(), "waited_s": waited}


def stat_line() -> str | None:
    """The line of /proc/stat about all CPUs together (man 5 proc_stat); None where there is none."""
    try:
        with open("/proc/stat") as file:
            return file.readline()
    except OSError:
        return None


def waited_s() -> float | None:
    """Of all threads, the time on a run queue: the second number (Documentation/scheduler/sched-stats.rst)."""
    waited_ns = 0
    try:
        for thread in os.listdir("/proc/self/task"):
            with open(f"/proc/self/task/{thread}/schedstat") as file:
                waited_ns += int(file.read().split()[1])
    except (OSError, ValueError, IndexError):  # not every kernel counts it
        return None
    return waited_ns / 1e9


def forget_peak() -> None:
    """Start the peak (VmHWM) afresh, so that what the imports needed does not count; harmless where it fails."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pass


def begin(job: JsonObject) -> None:
    if hasattr(signal, "SIGALRM"):
        signal.alarm(ceil(job["timeout_s"]) + 5)  # nobody may be left to kill us: end by ourselves
    if job["affinity"] is not None:
        os.sched_setaffinity(0, job["affinity"])  # type: ignore[attr-defined,unused-ignore]


def run(job: JsonObject) -> JsonObject:
    begin(job)
    forget_peak()
    status_before = process_status()
    models = load_models(job)
    for model in models:
        model.warm_up(job["warmup_runs"])
    gc.collect()
    gc.disable()
    cpus_before = cpu_times(job["threads"])
    started_s = time.monotonic()
    time_models(models, job)
    ended_s = time.monotonic()
    cpus_after = cpu_times(job["threads"])
    gc.enable()
    status_after = process_status()
    return {
        "litert_version": litert_version(),
        "status_before": status_before,
        "status_after": status_after,
        "cpus_before": cpus_before,
        "cpus_after": cpus_after,
        "loop_s": [started_s, ended_s],
        "models": [model.result() for model in models],
    }


def sustain(job: JsonObject) -> None:
    """Keep the job's only model busy for `min_seconds` seconds, and tell of each window of `window_s` of them."""
    begin(job)
    (model,) = (LoadedModel(model, job["threads"], job["seed"]) for model in job["models"])
    model.warm_up(job["warmup_runs"])
    gc.collect()
    gc.disable()
    over_s = uptime_s() + job["min_seconds"]
    while (start_s := uptime_s()) < over_s:
        model.time_block(1, job["window_s"])
        end_s = uptime_s()
        samples = model.blocks_ns.pop()
        median_ms = float(np.median(np.frombuffer(samples, dtype=np.int64))) / 1e6
        window = {"start_s": start_s, "end_s": end_s, "n": len(samples), "median_ms": median_ms}
        print("\n" + WINDOW + json.dumps(window), flush=True)


def uptime_s() -> float:
    """The clock of /proc/uptime, where there is one."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


def litert_version() -> str:
    for name in ("ai-edge-litert", "ai-edge-litert-nightly"):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return "unknown"


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: litert_runner.py JOB.json (or -)")
    if sys.argv[1] == "-":
        job = json.load(sys.stdin)
    else:
        with open(sys.argv[1]) as file:
            job = json.load(file)
    try:
        if job["window_s"] is not None:
            sustain(job)
            return
        result = run(job)
    except Refused as error:
        result = {"refused": {"path": error.args[0], "message": error.args[1]}}
    print("\n" + SENTINEL + json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
