"""The official benchmark app on a phone: `benchmark_model` in an APK, as an app has processors, GPU and drivers.

The activity runs the tool when it is created, with the flags of its `args` (cut at white space), and finishes; its
process stays behind. What the tool prints goes to Android's log, each message cut at 1023 bytes, and nothing but what
it says last tells that a run has ended. It has no permission to write: no file comes back from it. Apps may read what
lies in /data/local/tmp. Sources: tensorflow/lite/tools/benchmark/android and tensorflow/lite/tools/logging.h in
github.com/tensorflow/tensorflow; untrusted_app_all.te, liblog's logger_write.cpp and logcat.cpp of AOSP.
"""

from __future__ import annotations

import contextlib

from device_bench.device import Job, Missing
from device_bench.errors import DeviceBenchError, UsageError
from device_bench.probes.memory import app_memory
from device_bench.records import MemoryUse
from device_bench.runners.benchmark_tool import Placed, Tool, flags
from device_bench.shell import Finished, Remote

PACKAGE = "org.tensorflow.lite.benchmark"
ACTIVITY = f"{PACKAGE}/.BenchmarkModelActivity"

# The last line of a run; what a crash and Java leave; what ends the tool's loading of a model.
END = (
    "Memory footprint delta|Average inference timings in us|Fatal signal [0-9]+|FATAL EXCEPTION"
    "|Failed to (mmap model|load model|initialize model loader|initialize the interpreter|allocate tensors)"
    "|Failed to apply .* delegate|Disallowed CPU fallback detected"
)
# $1 the package, $2 its activity, $3 what ends its log, then its flags. The process is a new one, so its log is the
# run's; Android's log is left as it is, and logcat sleeps until the app itself says something (`--pid`, Android 7).
SCRIPT = r"""
package=$1 activity=$2 end=$3
shift 3
wait_for() {
  tries=0
  until "$@"; do
    tries=$((tries + 1))
    if [ "$tries" -gt 100 ]; then return 1; fi
    sleep 0.1 || sleep 1
  done
}
there() { pid=$(pidof "$package"); }
gone() { ! there; }
am force-stop "$package"
wait_for gone || { echo "the app cannot be stopped" >&2; exit 1; }
since=$(date '+%m-%d %H:%M:%S.000')
am start -n "$activity" --es args "$*" || exit 1
wait_for there || { logcat -d -b crash -v brief -T "$since"; echo "the app did not start" >&2; exit 1; }
exec logcat "--pid=${pid%% *}" -T "$since" -v brief -e "$end" -m 1 --print
"""

MEMORY_MARK = "POCKETPRUNE-MEMINFO"
# Prints, after its arguments' process, what `dumpsys meminfo` said of the app's totals while that ran.
MEMORY_SCRIPT = f"""
"$@" & child=$!
said=
while kill -0 "$child" 2>/dev/null; do
  said="$said
{MEMORY_MARK} $(dumpsys meminfo {PACKAGE} 2>&1 | grep TOTAL)"
  sleep 0.1 || sleep 1
done
wait "$child"
code=$?
echo "$said"
exit $code
"""
MEMORY_METHOD = (
    "largest TOTAL PSS of `dumpsys meminfo` of the benchmark app, Android's own part of it included, asked again and "
    "again in a run of its own: a peak between two answers is missed; model_mb: growth since its start, by its own log"
)


class App(Tool):
    """The installed app; `sha256` is its APK's."""

    runner = "benchmark_app"
    memory_seconds = 4.0
    memory_script = MEMORY_SCRIPT
    no_profile = "Android's log cuts the benchmark app's table of operations off"
    no_files = "the benchmark app writes no files that could be fetched: its answers are not checked"

    def __init__(self, remote: Remote, sha256: str) -> None:
        super().__init__(remote, ACTIVITY, sha256)

    def check_affinity(self, job: Job) -> None:
        if job.affinity is not None:
            raise UsageError(
                f"affinity {list(job.affinity)}: an app cannot be pinned to CPUs from outside; leave the affinity out, "
                "or measure with ?runner=tool"
            )

    def argv(self, job: Job, model: Placed, runs: int, seconds: float, warmup: int) -> list[str]:
        return ["sh", "-c", SCRIPT, "sh", PACKAGE, self._path, END, *flags(job, model, runs, seconds, warmup)]

    def execute(self, argv: list[str], folder: str, job: Job, model: Placed, extra_s: float = 0.0) -> Finished:
        """As the tool's; the app, which would stay behind, is stopped after it whatever happened."""
        try:
            return super().execute(argv, folder, job, model, extra_s)
        finally:
            with contextlib.suppress(DeviceBenchError):  # the run's own outcome counts, and the next one stops it too
                self.remote.run(["am", "force-stop", PACKAGE])

    def memory(self, finished: Finished) -> MemoryUse | Missing:
        answers = [app_memory(dump) for dump in finished.stdout.split(MEMORY_MARK)[1:]]
        uses = [use for use in answers if isinstance(use, MemoryUse)]
        if not uses:
            return answers[-1] if answers else Missing(reason="dumpsys meminfo was not answered while the app ran")
        return MemoryUse(peak_rss_mb=max(use.peak_rss_mb for use in uses), model_mb=None, method=MEMORY_METHOD)
