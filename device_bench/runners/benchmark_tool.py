"""One `benchmark_model` on one device: its command line, a run of it, and the memory that it took."""

from __future__ import annotations

from itertools import count

from device_bench.device import Job, JobModel, Missing, RunAggregate
from device_bench.errors import UsageError
from device_bench.records import MemoryUse, Record
from device_bench.runners.benchmark_delegate import FLAGS, wanted_delegate
from device_bench.runners.benchmark_failures import raise_failure
from device_bench.runners.benchmark_log import ToolRun, parse_run
from device_bench.shell import Finished, Remote
from device_bench.tflite import Graph, read_graph

MEMORY_METHOD = "VmHWM of benchmark_model, polled in a run of its own; model_mb: growth since its start, by its own log"
MEMORY_MARK = "POCKETPRUNE-VMHWM"
# Prints the last VmHWM of its arguments' process; that line of /proc/PID/status is gone once the process has ended.
MEMORY_SCRIPT = f"""
"$@" & pid=$!
while line=$(grep VmHWM "/proc/$pid/status" 2>/dev/null) && [ -n "$line" ]; do
  peak=$line
  sleep 0.05 || sleep 1
done
wait "$pid"
code=$?
echo "{MEMORY_MARK} $peak"
exit $code
"""


class Placed(Record):
    """A job's model on the device."""

    model: JobModel
    there: str
    graph: Graph


class Tool:
    """The binary on the device; `benchmark_app.py` has the same in an app.

    Args:
        remote: the device.
        path: the tool's path there, ready to be executed.
        sha256: the tool's hash; the tool itself prints no version.
        libraries: the folder there that holds the NPU maker's libLiteRtDispatch_*.so, if there is one.
    """

    runner = "benchmark_model"
    memory_seconds = 0.5
    memory_script = MEMORY_SCRIPT
    """Executes its arguments, and prints what `memory` reads."""
    no_profile: str | None = None
    """Why there can be no table of operations."""
    no_files: str | None = None
    """Why what it writes into files cannot be had."""

    def __init__(self, remote: Remote, path: str, sha256: str, libraries: str | None = None) -> None:
        self.remote = remote
        self._libraries = libraries
        self.sha256 = sha256
        self._path = path
        self._count = count()

    def fresh(self, folder: str, name: str) -> str:
        """A path in the job's folder that was never given before."""
        return f"{folder}/{next(self._count)}-{name}"

    def place(self, model: JobModel) -> Placed:
        return Placed(model=model, graph=read_graph(model.path), there=self.remote.cached(model.path, ".tflite"))

    def check_affinity(self, job: Job) -> None:
        """Try the CPUs out.

        Raises:
            UsageError: the device has no `taskset`, or not these CPUs.
        """
        if job.affinity is None:
            return
        ended = self.remote.run([*_taskset(job), "true"])
        if ended.exit_code != 0:
            said = (ended.stderr + ended.stdout).strip().splitlines()
            why = "it has no taskset" if ended.exit_code in (126, 127) else "; ".join(said[:1]) or "taskset failed"
            raise UsageError(
                f"affinity {list(job.affinity)}: the device cannot pin a process to these CPUs ({why}); "
                "pick from those that it has, or leave the affinity out"
            )

    def argv(self, job: Job, model: Placed, runs: int, seconds: float, warmup: int) -> list[str]:
        """A command line, to which more flags may be added.

        Raises:
            UsageError: an NPU is wanted, and what drives it is not on the device.
        """
        command = [self._path, *flags(job, model, runs, seconds, warmup)]
        if wanted_delegate(job.accelerator, job.delegate) == "npu":
            if self._libraries is None:
                raise UsageError(
                    "delegate 'npu': LiteRT drives an NPU through its maker's libLiteRtDispatch_*.so, and there is "
                    "none beside benchmark_model; put it into pocketprune/tools on the device, or ask for "
                    "another delegate"
                )
            paths = [f"--{name}_library_path={self._libraries}" for name in ("dispatch", "compiler_plugin")]
            command = ["env", f"LD_LIBRARY_PATH={self._libraries}", *command, *paths]
        return [*_taskset(job), *command]

    def execute(self, argv: list[str], folder: str, job: Job, model: Placed, extra_s: float = 0.0) -> Finished:
        """Run a command line of the tool to its end.

        Raises:
            UsageError, DeviceUnavailableError, RunnerError: it failed, or took `extra_s` longer than the job may.
        """
        started = self.remote.start(argv, folder, name=f"run{next(self._count)}")
        finished = self.remote.collect(started, job.timeout_s + extra_s)
        if finished.exit_code != 0:
            raise_failure(finished, model.model.path)
        return finished

    def memory(self, finished: Finished) -> MemoryUse | Missing:
        """Its peak, from what `memory_script` printed."""
        words = finished.stdout.rpartition(MEMORY_MARK)[2].split()
        if len(words) != 3 or words[0] != "VmHWM:" or not words[1].isdecimal():
            return Missing(reason="the device shows no VmHWM in /proc/PID/status")
        return MemoryUse(peak_rss_mb=int(words[1]) / 1024, model_mb=None, method=MEMORY_METHOD)


def flags(job: Job, model: Placed, runs: int, seconds: float, warmup: int) -> list[str]:
    return [
        f"--graph={model.there}",
        f"--num_threads={job.threads}",
        f"--num_runs={runs}",
        f"--min_secs={seconds:g}",
        f"--max_secs={job.timeout_s + seconds:g}",  # its default ends a run after 150 s, with fewer inferences
        f"--warmup_runs={warmup}",
        "--warmup_min_secs=0",
        FLAGS[wanted_delegate(job.accelerator, job.delegate)],
    ]


def read_run(finished: Finished) -> ToolRun:
    """What the tool printed; which of its lines go to stderr differs from build to build."""
    return parse_run([*finished.stderr.splitlines(), *finished.stdout.splitlines()])


def timed_part(run: ToolRun, finished: Finished, model: Placed) -> RunAggregate:
    """The measurement of a run, which must have one.

    Raises:
        UsageError, RunnerError: it has none.
    """
    if run.timed is None:
        raise_failure(finished, model.model.path)
    return run.timed


def _taskset(job: Job) -> list[str]:
    if job.affinity is None:
        return []
    return ["taskset", f"{sum(1 << cpu for cpu in set(job.affinity)):x}"]
