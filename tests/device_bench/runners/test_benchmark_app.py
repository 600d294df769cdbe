"""The app's driver with Android's commands played by a few lines of shell; the rig has a stand-in that really runs."""

import shutil
from pathlib import Path

import pytest

from device_bench.device import Job, JobModel, Missing
from device_bench.errors import DeviceUnavailableError, RunnerError, UsageError
from device_bench.records import BenchSpec, MemoryUse
from device_bench.runners.benchmark_app import END, PACKAGE, App
from device_bench.runners.benchmark_model import BenchmarkModel
from device_bench.shell import Finished
from tests.device_bench.probes import dumps
from tests.device_bench.runners.local_remote import LocalRemote

# The form of a log that a phone gave in 2026, of another network; `logcat -v brief`
HEAD = """\
--------- beginning of main
I/tflite_BenchmarkModelActivity(22838): Running TensorFlow Lite benchmark with args: --graph=x
I/tflite  (22838): Num threads: [4]
I/tflite  (22838): Loaded model x
I/tflite  (22838): Replacing 9 out of 9 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 1 partitions for \
subgraph 0.
I/tflite  (22838): Initialized session in 92.318ms.
"""
LOG = f"""{HEAD}\
I/tflite  (22838): count=3 first=2351 curr=2003 min=1994 max=2351 avg=2116.69 std=166 p5=1994 median=2003 p95=2351
I/tflite  (22838): count=25 first=1875 curr=1409 min=1400 max=1951 avg=1455.28 std=135 p5=1405 median=1412 p95=1875
I/tflite  (22838): Inference timings in us: Init: 92318, First inference: 2351, Warmup (avg): 2116, Inference (avg): 145
I/tflite  (22838): Memory footprint delta from the start of the tool (MB): init=54.2852 overall=73.4102
"""
CRASH = f"""{HEAD}\
F/libc    (22838): Fatal signal 11 (SIGSEGV), code 1 (SEGV_MAPERR), fault addr 0x8 in tid 22838 (w.lite.benchmark), \
pid 22838 (w.lite.benchmark)
"""
REFUSED = f"{HEAD}E/tflite  (22838): Could not open 'x'.\nE/tflite  (22838): Failed to load model x\n"
NO_GPU = f"{HEAD}E/tflite  (22838): Failed to apply GPU delegate.\n"

COMMANDS = {
    "am": 'echo "am $*" >>calls; case $1 in start) touch there ;; force-stop) rm -f there ;; esac',
    "pidof": "[ -e there ] && echo 22838",
    "logcat": 'echo "logcat $*" >>calls; sleep 0.2; cat log',
    "dumpsys": "cat meminfo",
}


class Phone:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, body in COMMANDS.items():
            (folder / name).write_text(f'#!/bin/sh\ncd "{folder}"\n{body}\n')
            (folder / name).chmod(0o755)
        (folder / "log").write_text(LOG)
        (folder / "meminfo").write_text(dumps.MEMINFO)
        remote = LocalRemote(folder, path=f"{folder}:/usr/bin:/bin")
        self.app = App(remote, "f3729eaf" + "0" * 56)
        self.driver = BenchmarkModel(self.app)

    def run(self, model: Path, **spec: object):
        given = BenchSpec.model_validate({"warmup_runs": 2, "timed_runs": 20, "min_seconds": 0.5, **spec})
        return self.driver.run(Job.of(given, (JobModel(path=model),)), str(self.folder))

    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().splitlines()


@pytest.fixture
def phone(tmp_path: Path) -> Phone:
    return Phone(tmp_path)


def test_a_phones_log_is_a_measurement(phone: Phone, tiny_tflite: Path):
    result = phone.run(tiny_tflite)
    (model,) = result.models
    assert model.blocks == ((1.412,),) and model.aggregates[0].n == 25
    assert (model.init_ms, model.first_ms) == (92.318, 2.351)
    assert model.delegate.nodes_delegated == model.delegate.nodes_total == 9
    assert (result.runtime.runner, result.runtime.version) == ("benchmark_app", "benchmark_app f3729eaf")
    assert (result.memory.peak_rss_mb, result.memory.model_mb) == (80.0, 73.4102)


def test_the_app_is_stopped_before_and_after_and_its_log_is_waited_for_by_its_process(phone: Phone, tiny_tflite: Path):
    phone.run(tiny_tflite, threads=2)
    before, start, wait, after = phone.calls()[:4]
    assert before == after == f"am force-stop {PACKAGE}"
    assert start.startswith(f"am start -n {PACKAGE}/.BenchmarkModelActivity --es args --graph=/")
    assert "--num_threads=2 --num_runs=20 --min_secs=0.5 " in start and "result_file" not in start
    assert wait.startswith("logcat --pid=22838 -T ") and wait.endswith(f"-v brief -e {END} -m 1 --print")


@pytest.mark.parametrize("shell", ["mksh", "dash", "bash"])
def test_every_shell_reads_it_alike(phone: Phone, tiny_tflite: Path, shell: str):
    program = shutil.which(shell) or pytest.skip(f"no {shell} here")
    (phone.folder / "sh").symlink_to(program)
    result = phone.run(tiny_tflite)
    assert result.models[0].blocks == ((1.412,),) and result.memory.peak_rss_mb == 80.0


@pytest.mark.parametrize(
    ("log", "error", "text"),
    [
        (CRASH, RunnerError, "was ended by SIGSEGV"),
        (REFUSED, UsageError, "LiteRT cannot load it: .*Could not open 'x'"),
        (NO_GPU, DeviceUnavailableError, "Failed to apply GPU delegate"),
        (HEAD, RunnerError, "ended without a measurement"),
        ("", RunnerError, "ended without a measurement"),
    ],
)
def test_a_log_without_a_measurement_is_an_error_and_the_app_is_stopped(
    phone: Phone, tiny_tflite: Path, log: str, error: type[Exception], text: str
):
    (phone.folder / "log").write_text(log)
    with pytest.raises(error, match=text):
        phone.run(tiny_tflite)
    assert phone.calls()[-1] == f"am force-stop {PACKAGE}"


def test_an_activity_that_is_not_there(phone: Phone, tiny_tflite: Path):
    (phone.folder / "am").write_text(
        "#!/bin/sh\n[ $1 = force-stop ] || { echo 'Error: it does not exist.' >&2; exit 1; }"
    )
    with pytest.raises(RunnerError, match="it does not exist"):
        phone.run(tiny_tflite)


def test_an_app_that_cannot_be_pinned(phone: Phone, tiny_tflite: Path):
    with pytest.raises(UsageError, match="cannot be pinned"):
        phone.run(tiny_tflite, affinity=(0,))


def test_the_largest_of_the_answers_is_its_memory(phone: Phone):
    said = "\n".join(f"POCKETPRUNE-MEMINFO   TOTAL PSS: {kb}" for kb in (1024, 4096, 2048)) + "\nPOCKETPRUNE-MEMINFO "
    use = phone.app.memory(Finished(exit_code=0, stdout=LOG + said, stderr=""))
    assert isinstance(use, MemoryUse) and use.peak_rss_mb == 4.0 and "PSS" in use.method


@pytest.mark.parametrize("said", ["", "POCKETPRUNE-MEMINFO \nPOCKETPRUNE-MEMINFO ", "POCKETPRUNE-MEMINFO TOTAL PSS: x"])
def test_memory_that_nobody_told_has_a_reason(phone: Phone, said: str):
    use = phone.app.memory(Finished(exit_code=0, stdout=said, stderr=""))
    assert isinstance(use, Missing) and use.reason
