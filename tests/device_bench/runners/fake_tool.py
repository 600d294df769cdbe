"""Stands in for benchmark_model where the driver is tested: prints the official lines, and runs no network.

`behaviour.json` beside it says what it plays; every call's arguments are added to `calls.txt`. What really runs a
network through LiteRT behind these lines is the rig's stand-in.
"""

import json
import os
import signal
import struct
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(HERE, "behaviour.json")) as file:
    PLAYS = json.load(file)
FLAGS = dict(arg.removeprefix("--").split("=", 1) for arg in sys.argv[1:])
KNOWN = PLAYS.get("flags")
if KNOWN is not None:
    UNKNOWN = [name for name in FLAGS if name not in KNOWN]
    for name in UNKNOWN:
        del FLAGS[name]
else:
    UNKNOWN = []


def log(text):
    print("INFO: " + text, file=sys.stderr)


def numbers(n):
    """n inferences in microseconds: the first is the slowest; a model's size makes its latency."""
    base = os.path.getsize(FLAGS["graph"]) + 1000
    return [base + 100 * (i == 0) + i % 7 for i in range(n)]


def stat(values):
    text = f"count={len(values)}"
    if values and min(values) == max(values):
        text += f" curr={values[-1]}" + ("(all same)" if len(values) > 1 else "")
    elif values:
        mean = sum(values) / len(values)
        text += f" first={values[0]} curr={values[-1]} min={min(values)} max={max(values)} avg={mean:.6g} std=12"
    if values and PLAYS.get("median"):
        ordered = sorted(values)
        text += "".join(
            f" {name}={ordered[len(ordered) * p // 100]}" for name, p in (("p5", 5), ("median", 50), ("p95", 95))
        )
    return text


def message(field, values):
    body = b"".join(
        bytes([key << 3]) + bytes([value & 127 | 128, value >> 7])
        if isinstance(value, int)
        else bytes([key << 3 | 5]) + struct.pack("<f", value)
        for key, value in values.items()
    )
    return bytes([field << 3 | 2, len(body)]) + body


def main():
    with open(os.path.join(HERE, "calls.txt"), "a") as calls:
        print(json.dumps(sys.argv[1:]), file=calls)
    log("STARTING!")
    if UNKNOWN:
        print("WARN: Unconsumed cmdline flags: " + " ".join(f"--{name}" for name in UNKNOWN), file=sys.stderr)
    if PLAYS.get("hangs"):
        time.sleep(60)
    for line in PLAYS.get("says", []):
        print(line, file=sys.stderr)
    if "signal" in PLAYS:
        os.kill(os.getpid(), getattr(signal, PLAYS["signal"]))
    if "exit" in PLAYS:
        sys.exit(PLAYS["exit"])
    warmup, timed = numbers(int(FLAGS["warmup_runs"])), numbers(max(int(FLAGS["num_runs"]), PLAYS.get("at_least", 0)))
    log("Initialized session in 3.5ms.")
    log(stat(warmup))
    log(stat(timed))
    log("Memory footprint delta from the start of the tool (MB): init=2.5 overall=8.25")
    time.sleep(float(FLAGS["min_secs"]) and 0.15)
    if FLAGS.get("enable_op_profiling") == "true":
        print("\t[node type]\t[first]\t[avg ms]\t[%]\t[cdf%]\t[mem KB]\t[times called]\t[Name]")
        print("\tCONV_2D\t0.1\t0.2\t100.000%\t100.000%\t0.000\t1\t[out]:0\n")
    if "result_file_path" in FLAGS:
        with open(FLAGS["result_file_path"], "wb") as file:
            ordered = sorted(value / 1e3 for value in timed)
            values = [sum(ordered) / len(ordered), ordered[0], ordered[-1], 0.01, ordered[len(ordered) // 2]]
            file.write(message(2, dict(enumerate(values, start=1))) + message(4, {2: len(ordered)}))
    if "output_filepath" in FLAGS:
        for item in FLAGS["input_layer_value_files"].split(","):
            assert os.path.getsize(item.split(":")[1]) > 0
        with open(FLAGS["output_filepath"], "wb") as file:
            file.write(bytes.fromhex(PLAYS["output"]))


main()
