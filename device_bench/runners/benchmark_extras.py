"""What runs of `benchmark_model` beside the timed ones say: times of operations, outputs, memory.

Each is a run of its own: a profile, a poll of /proc or a file written would be in the timing otherwise.
"""

from __future__ import annotations

from device_bench.device import Job, Missing
from device_bench.errors import RunnerError
from device_bench.layers import name_layers
from device_bench.probes.battery import LoadRun
from device_bench.records import MemoryUse, OpTime
from device_bench.runners.benchmark_golden import OUTPUT_FLAG, examples, input_flags, outputs_error, raw
from device_bench.runners.benchmark_tool import Placed, Tool, read_run, timed_part

PROFILE_RUNS = 5
NO_PROFILE = "this benchmark_model gave no table of operations"
NO_OUTPUTS = (
    "this benchmark_model writes no outputs (no --output_filepath, as in LiteRT 2): its answers are not checked"
)
# Prints the device's clock after its arguments' process, whose exit code it keeps.
CLOCK_MARK = "POCKETPRUNE-UPTIME"
CLOCK_SCRIPT = f"""
"$@"
code=$?
read now idle < /proc/uptime
echo "{CLOCK_MARK} $now"
exit $code
"""


def profile(tool: Tool, job: Job, model: Placed, folder: str) -> tuple[OpTime, ...] | Missing:
    """Time of each operation."""
    if tool.no_profile:
        return Missing(reason=tool.no_profile)
    argv = tool.argv(job, model, PROFILE_RUNS, 0.0, warmup=1)
    argv += ["--enable_op_profiling=true", "--use_profiler=true"]  # TFLite's name and LiteRT 2's
    ops = read_run(tool.execute(argv, folder, job, model)).ops
    return name_layers(ops, model.graph) if ops else Missing(reason=NO_PROFILE)


def golden_error(tool: Tool, job: Job, model: Placed, folder: str) -> float | Missing | None:
    """Largest relative error from the golden outputs; None where the model has none."""
    if model.model.golden is None:
        return None
    if tool.no_files:
        return Missing(reason=tool.no_files)
    worst = 0.0
    for example in examples(model.model.golden, model.graph, model.model.path):
        files = [tool.fresh(folder, "golden.bin") for _ in example.inputs]
        flags = input_flags(model.graph, example, files)
        if isinstance(flags, Missing):
            return flags
        for tensor, file in zip(example.inputs, files, strict=True):
            tool.remote.push(raw(tensor), file)
        written = tool.fresh(folder, "golden.out")
        argv = [*tool.argv(job, model, 1, 0.0, warmup=0), *flags, f"{OUTPUT_FLAG}={written}"]
        run = read_run(tool.execute(argv, folder, job, model))
        if OUTPUT_FLAG in run.unknown_flags or tool.remote.run(["test", "-f", written]).exit_code != 0:
            return Missing(reason=NO_OUTPUTS)
        worst = max(worst, outputs_error(tool.remote.pull(written), example.outputs))
    return worst


def memory(tool: Tool, job: Job, model: Placed, folder: str) -> MemoryUse | Missing:
    """Peak of the tool's process and, of that, the model's part by the tool's own account."""
    argv = tool.argv(job, model, 1, tool.memory_seconds, job.warmup_runs)
    finished = tool.execute(["sh", "-c", tool.memory_script, "sh", *argv], folder, job, model)
    use = tool.memory(finished)
    return use if isinstance(use, Missing) else use.model_copy(update={"model_mb": read_run(finished).overall_mb})


def load(tool: Tool, job: Job, model: Placed, folder: str, seconds: float) -> LoadRun:
    """Keep the device busy with inferences for some seconds; loading and warm-up before them do not count."""
    argv = tool.argv(job, model, 1, seconds, job.warmup_runs)
    finished = tool.execute(["sh", "-c", CLOCK_SCRIPT, "sh", *argv], folder, job, model, seconds)
    try:
        end_s = float(finished.stdout.rpartition(CLOCK_MARK)[2].split()[0])
    except (IndexError, ValueError) as error:
        raise RunnerError("the device's clock (/proc/uptime) could not be read after the load") from error
    timed = timed_part(read_run(finished), finished, model)
    busy_s = timed.n * timed.mean / 1e3
    return LoadRun(start_s=end_s - busy_s, end_s=end_s, busy_s=busy_s, inferences=timed.n, median_ms=timed.median)
