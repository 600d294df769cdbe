#!/opt/rig/python3
"""A stand-in for `benchmark_model`, the official TFLite and LiteRT tool: it is not that tool.

It really runs the model, through LiteRT's Python interpreter, and prints the lines that the official builds print
(tensorflow/lite/tools/benchmark in github.com/tensorflow/tensorflow). Which build it plays, and what goes wrong with
it, is read from `benchmark_model.plays` beside it: {"build": ..., "fault": ...}.

    old      2018: no percentiles, seconds, "no stats"           tflite     2020: no percentiles, no result file
    current  2025: percentiles, result file                      litert     LiteRT 2: the same and a closing block;
                                                                            no inputs and outputs in files
"""

from __future__ import annotations

import json
import os
import random
import signal
import struct
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

COMMON = {"graph": "", "num_threads": "-1", "num_runs": "50", "warmup_runs": "1", "help": "false", "run_delay": "-1"}
TIMED = {"min_secs": "1", "max_secs": "150", "warmup_min_secs": "0.5", "verbose": "false"}
TIMED |= {"report_peak_memory_footprint": "false", "memory_footprint_check_interval_ms": "50"}
INPUTS = {"input_layer": "", "input_layer_shape": ""}
FILES = {"input_layer_value_files": "", "output_filepath": ""}
PROFILE = {"enable_op_profiling": "false", "op_profiling_output_mode": "stdout", "op_profiling_output_file": ""}
DELEGATES = {"use_xnnpack": "", "use_gpu": "false", "use_nnapi": "false", "require_full_delegation": "false"}
GPU = {"gpu_precision_loss_allowed": "true"}
RESULT = {"result_file_path": ""}
FLAGS = {
    "old": COMMON | INPUTS | {"use_nnapi": "false"},
    "tflite": COMMON | TIMED | INPUTS | FILES | PROFILE | DELEGATES | GPU,
    "current": COMMON | TIMED | INPUTS | FILES | PROFILE | DELEGATES | GPU | RESULT,
    "litert": COMMON | TIMED | RESULT | {"use_profiler": "false", "use_cpu": "true", "use_gpu": "false", "use_npu": ""},
}
TITLES = ("[node type]", "[first]", "[avg ms]", "[%]", "[cdf%]", "[mem KB]", "[times called]", "[Name]")
PREFIX = {"old": "native : benchmark_tflite_model.cc:440 "}
GARBAGE_SEED = 7


class Tool:
    def __init__(self, build: str, fault: str | None, flags: dict[str, str]) -> None:
        self.build, self.fault, self.flags = build, fault, flags
        self.logged_memory_kb = resident_kb("VmHWM")

    def on(self, name: str) -> bool:
        return self.flags.get(name) in ("true", "1")

    def info(self, text: str) -> None:
        print(PREFIX.get(self.build, "INFO: ") + text, flush=True)

    def fail(self, text: str) -> NoReturn:
        print(f"ERROR: {text}\nERROR: Benchmarking failed.", file=sys.stderr)
        sys.exit(1)

    def abort(self, text: str) -> NoReturn:
        print(f"FATAL: {text}", file=sys.stderr, flush=True)
        os.abort()

    def load(self) -> None:
        """Load the model and apply the delegates, timed as the tool's "session"."""
        graph = self.flags["graph"]
        size_bytes = os.path.getsize(graph) if os.path.exists(graph) else -1
        started_s = time.monotonic()
        explicit_off = self.flags.get("use_xnnpack") in ("false", "0")
        resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES if explicit_off else OpResolverType.AUTO
        threads = max(1, int(self.flags["num_threads"]))
        try:
            self.net = Interpreter(graph, num_threads=threads, experimental_op_resolver_type=resolver)
            self.info(f"Loaded model {graph}")
            self.net.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            print(f"ERROR: {error}", file=sys.stderr)
            self.fail(f"Failed to mmap model {graph}")
        self.session_us = round((time.monotonic() - started_s) * 1e6)
        self.say_delegates()
        self.session_memory_kb = resident_kb("VmHWM")
        self.size_mb = size_bytes / 1e6
        if self.build == "old":
            self.info(f"Initialized session in {self.session_us / 1e6:g}s")
        else:
            self.info(f"The input model file size (MB): {self.size_mb:g}")
            self.info(f"Initialized session in {self.session_us / 1e3:g}ms.")

    def say_delegates(self) -> None:
        details = self.net._get_ops_details()
        own = [op for op in details if op["op_name"] != "DELEGATE"]
        self.partitions = len(details) - len(own)
        if self.partitions:
            taken = f"Replacing {len(own)} out of {len(own)} node(s) with delegate (TfLiteXNNPackDelegate) node"
            print(f"VERBOSE: {taken}, yielding {self.partitions} partitions for the whole graph.", file=sys.stderr)
        for name, flag in (("GPU", "use_gpu"), ("NNAPI", "use_nnapi")):
            if self.on(flag):
                # Neither is here; so says the tool where one is, and takes nothing of the network.
                applied = f"Though {name} delegate is explicitly applied"
                self.info(f"{applied}, the model graph will not be executed by the delegate.")
                if self.on("require_full_delegation"):
                    self.fail("Disallowed CPU fallback detected.")
        if self.on("use_xnnpack"):
            how = "completely executed by the delegate."
            if self.partitions != 1:
                how = f"partially executed by the delegate w/ {self.partitions} delegate kernels."
            self.info(f"Explicitly applied XNNPACK delegate, and the model graph will be {how}")

    def fill_inputs(self) -> None:
        files = dict(item.split(":", 1) for item in self.flags.get("input_layer_value_files", "").split(",") if item)
        names = [name for name in self.flags.get("input_layer", "").split(",") if name]
        details = self.net.get_input_details()
        if names and len(names) != len(details):
            self.abort(f"Inputs mismatch: Model inputs #:{len(names)} expected: {len(details)}")
        chance = np.random.default_rng()
        for number, detail in enumerate(details):
            dtype, shape = np.dtype(detail["dtype"]), detail["shape"]
            name = names[number] if names else detail["name"]
            if names and name != detail["name"]:
                print(f"WARN: Tensor # {detail['index']} is named {detail['name']} but flags call it {name}")
            if name in files:
                data = Path(files[name]).read_bytes()
                wanted = int(np.prod(shape)) * dtype.itemsize
                if len(data) != wanted:
                    self.abort(f"The size of {files[name]} is {len(data)} bytes. It should be {wanted} bytes.")
                value = np.frombuffer(data, dtype).reshape(shape)
            elif np.issubdtype(dtype, np.integer):
                value = chance.integers(0, 100, shape).astype(dtype)
            else:
                value = chance.uniform(-0.5, 0.5, shape).astype(dtype)
            self.net.set_tensor(detail["index"], value)

    def measure(self, runs: int, min_s: float, max_s: float) -> list[int]:
        """Microseconds of each inference."""
        if self.build == "old":
            self.info(f"Running benchmark for {runs} iterations ")
        else:
            bounds = f"{runs} iterations and at least {min_s:g} seconds but terminate if exceeding {max_s:g} seconds."
            self.info(f"Running benchmark for at least {bounds}")
        invoke = (lambda: time.sleep(1e-4)) if self.fault == "wrong" else self.net.invoke
        samples: list[int] = []
        clock = Clock()
        now = started = time.monotonic()
        while (len(samples) < runs or now < started + min_s) and now <= started + max_s:
            clock.look()
            begin = time.perf_counter_ns()
            invoke()
            clock.hold_back(begin)
            samples.append((time.perf_counter_ns() - begin) // 1000)
            now = time.monotonic()
        self.info(count_line(samples, self.build in ("current", "litert")) + "\n")
        return samples

    def report(self, warmup: list[int], timed: list[int]) -> None:
        mean_us, warm_us = mean(timed), mean(warmup)
        first_us = warmup[0] if warmup else 0
        if self.build == "old":
            self.info(f"Average inference timings in us: Warmup: {warm_us:g}, no stats: {mean_us:g}")
            return
        told = f"Init: {self.session_us}, First inference: {first_us}"
        self.info(f"Inference timings in us: {told}, Warmup (avg): {warm_us:g}, Inference (avg): {mean_us:g}")
        grown_mb = [(kb - self.logged_memory_kb) / 1024 for kb in (self.session_memory_kb, resident_kb("VmHWM"))]
        self.info(
            "Note: as the benchmark tool itself affects memory footprint, the following is only APPROXIMATE to the "
            "actual memory footprint of the model at runtime. Take the information at your discretion."
        )
        footprint = f"init={grown_mb[0]:g} overall={grown_mb[1]:g}"
        self.info(f"Memory footprint delta from the start of the tool (MB): {footprint}")
        if self.on("report_peak_memory_footprint"):
            peak_mb = resident_kb("VmHWM") / 1024
            self.info(f"Overall peak memory footprint (MB) via periodic monitoring: {peak_mb:g}")
        if self.build == "litert":
            self.closing_block(warmup, timed, grown_mb)
        if self.flags.get("result_file_path"):
            Path(self.flags["result_file_path"]).write_bytes(self.result(warmup, timed, grown_mb))

    def closing_block(self, warmup: list[int], timed: list[int], grown_mb: list[float]) -> None:
        def ms(us: float) -> str:
            return f"{us / 1e3:.2f} ms"

        rows = [
            "\n========== BENCHMARK RESULTS ==========",
            f"Model initialization: {ms(self.session_us)}",
            f"Warmup (first):       {ms(warmup[0] if warmup else 0)}",
            f"Warmup (avg):         {ms(mean(warmup))} ({len(warmup)} runs)",
            f"Inference (avg):      {ms(mean(timed))} ({len(timed)} runs)",
            f"Inference (min):      {ms(min(timed))}",
            f"Inference (max):      {ms(max(timed))}",
            f"Inference (std):      {deviation(timed) / 1e3:.2f}",
            f"Init footprint:       {grown_mb[0]:.2f} MB",
            f"Overall footprint:    {grown_mb[1]:.2f} MB",
            "======================================\n",
        ]
        for row in rows:
            self.info(f"[benchmark_litert_model] {row}" if row[0] != "\n" else row)

    def result(self, warmup: list[int], timed: list[int], grown_mb: list[float]) -> bytes:
        """The tool's result message: latency = 2, memory = 3, misc = 4."""
        ranked = sorted(timed)
        latency_us = [mean(timed), ranked[0], ranked[-1], deviation(timed), rank(ranked, 0.5), rank(ranked, 0.05)]
        latency_us += [rank(ranked, 0.95), self.session_us, warmup[0] if warmup else 0, mean(warmup)]
        latency = b"".join(real(number, us / 1e3) for number, us in enumerate(latency_us, 1))
        memory = b"".join(whole(number, round(mb * 1024)) for number, mb in enumerate(grown_mb, 1))
        misc = real(1, self.size_mb) + whole(2, len(timed)) + whole(3, len(warmup))
        return message(2, latency) + message(3, memory) + message(4, misc)

    def profile(self, timed: list[int]) -> None:
        """The table of operations. Each has the same share of an inference here: LiteRT's Python does not tell."""
        details = self.net._get_ops_details()
        ran = [("TfLiteXNNPackDelegate", "Delegate/TfLiteXNNPackDelegate:0")] * bool(self.partitions)
        ran = ran or [(op["op_name"], f"{op['op_name'].lower()}:{i}") for i, op in enumerate(details)]
        share = 100 / len(ran)
        each_ms = mean(timed) / 1e3 / len(ran)
        rows = [
            (kind, f"{each_ms:.3f}", f"{each_ms:.3f}", f"{share:.3f}%", f"{share * (i + 1):.3f}%", "0.000", "1", name)
            for i, (kind, name) in enumerate(ran)
        ]
        lines = ["Operator-wise Profiling Info for Regular Benchmark Runs:", f"{' Run Order ':=^70}"]
        lines += ["\t" + "\t".join(f"{cell:>9}" for cell in row) for row in (TITLES, *rows)]
        if self.flags.get("op_profiling_output_file"):
            titles = "node type, first, avg_ms, %, cdf%, mem KB, times called, name"
            csv = [titles, *(", ".join(row) for row in rows)]
            Path(self.flags["op_profiling_output_file"]).write_text("\n".join(csv) + "\n")
        else:
            self.info("\n".join(lines) + "\n")

    def write_outputs(self) -> None:
        outputs = b"".join(self.net.get_tensor(detail["index"]).tobytes() for detail in self.net.get_output_details())
        Path(self.flags["output_filepath"]).write_bytes(bytes(len(outputs)) if self.fault == "wrong" else outputs)

    def go_wrong(self) -> None:
        if self.fault == "segv":
            os.kill(os.getpid(), signal.SIGSEGV)
        if self.fault == "hang":
            while True:
                time.sleep(3600)
        if self.fault == "garbage":
            os.write(1, random.Random(GARBAGE_SEED).randbytes(100_000))
            sys.exit(0)

    def run(self) -> None:
        if self.on("help"):
            print(f"ERROR: usage: {sys.argv[0]} <flags>", file=sys.stderr)
            self.fail("\n".join(f"\t--{name}={value}" for name, value in self.flags.items()))
        if not self.flags["graph"]:
            self.fail("Please specify the name of your TF Lite input file with --graph")
        for name, title in (("num_runs", "Min num runs"), ("num_threads", "Num threads"), ("graph", "Graph")):
            self.info(f"{title}: [{self.flags[name]}]")
        self.load()
        self.go_wrong()
        self.fill_inputs()
        max_s = float(self.flags.get("max_secs", "inf"))
        # An old one measures no minimal time.
        min_s = [float(self.flags.get(name, "0")) for name in ("warmup_min_secs", "min_secs")]
        warmup = self.measure(int(self.flags["warmup_runs"]), min_s[0], max_s)
        timed = self.measure(int(self.flags["num_runs"]), min_s[1], max_s)
        self.report(warmup, timed)
        if self.on("enable_op_profiling") or self.on("use_profiler"):
            self.profile(timed)
        if self.flags.get("output_filepath"):
            self.write_outputs()


class Clock:
    """Made-up heat caps a made-up clock, of which the real processor knows nothing: inferences then last longer."""

    POLICY = Path("/sys/devices/system/cpu/cpufreq/policy0")

    def __init__(self) -> None:
        self.looked_s = 0.0
        self.slower = 1.0

    def look(self) -> None:
        if time.monotonic() > self.looked_s + 0.1:
            self.looked_s = time.monotonic()
            top, cap = (self.POLICY / name for name in ("cpuinfo_max_freq", "scaling_max_freq"))
            self.slower = int(top.read_text()) / int(cap.read_text()) if cap.exists() else 1.0

    def hold_back(self, begin_ns: int) -> None:
        """Stay busy for as long as the inference that began then lasts at this clock."""
        end_ns = begin_ns + (time.perf_counter_ns() - begin_ns) * self.slower
        while self.slower > 1.0 and time.perf_counter_ns() < end_ns:
            pass


def count_line(samples: list[int], percentiles: bool) -> str:
    """Statistics as the official tool prints them: averages with six digits, everything else whole."""
    if not samples:
        return "count=0"
    if min(samples) == max(samples):
        return f"count={len(samples)} curr={samples[-1]}" + ("(all same)" if len(samples) > 1 else "")
    bounds = f"min={min(samples)} max={max(samples)} avg={mean(samples):g} std={round(deviation(samples))}"
    line = f"count={len(samples)} first={samples[0]} curr={samples[-1]} {bounds}"
    if percentiles:
        ranked = sorted(samples)
        line += f" p5={rank(ranked, 0.05)} median={rank(ranked, 0.5)} p95={rank(ranked, 0.95)}"
    return line


def mean(samples: list[int]) -> float:
    return sum(samples) / len(samples) if samples else 0.0


def deviation(samples: list[int]) -> float:
    centre = mean(samples)
    return float((sum((sample - centre) ** 2 for sample in samples) / max(1, len(samples))) ** 0.5)


def rank(ranked: list[int], share: float) -> int:
    return ranked[min(len(ranked) - 1, int(len(ranked) * share))]


def resident_kb(name: str) -> int:
    status = Path("/proc/self/status").read_text()
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith(name + ":")), 0)


def real(number: int, value: float) -> bytes:
    return bytes([number << 3 | 5]) + struct.pack("<f", value)


def whole(number: int, value: int) -> bytes:
    return bytes([number << 3]) + varint(value)


def message(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + varint(len(content)) + content


def varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def parse_flags(known: dict[str, str], arguments: list[str]) -> tuple[dict[str, str], list[str]]:
    """Values of the flags, and what is none of them."""
    flags, unknown = dict(known), []
    for argument in arguments:
        name, equals, value = argument.removeprefix("--").partition("=")
        if argument.startswith("--") and name in known and (equals or name == "help"):
            flags[name] = value if equals else "true"
        else:
            unknown.append(argument)
    return flags, unknown


def main() -> None:
    plays: dict[str, Any] = json.loads(Path(__file__).with_name("benchmark_model.plays").read_text())
    flags, unknown = parse_flags(FLAGS[plays["build"]], sys.argv[1:])
    tool = Tool(plays["build"], plays["fault"], flags)
    tool.info("STARTING!")
    if unknown and plays["build"] != "old":
        print("WARN: Unconsumed cmdline flags: " + " ".join(unknown), flush=True)
    tool.run()


if __name__ == "__main__":
    main()
