"""LiteRT in another machine's Python, which is this machine's here; over real adb in tests/device_bench/devices."""

import sys
from pathlib import Path

import pytest

from device_bench.device import Job, JobModel, Missing
from device_bench.errors import RunnerError, UsageError
from device_bench.process import run_to_end
from device_bench.records import BenchSpec
from device_bench.runners.litert_remote import LitertRemote, find_python
from device_bench.shell import Finished
from tests.device_bench.runners.local_remote import LocalRemote

QUICK = BenchSpec(warmup_runs=1, timed_runs=5, min_seconds=0.0)


class Local(LocalRemote):
    """Hands a job its stdin; `answer` replaces what the runner would have printed."""

    def __init__(self, folder: Path, answer: Finished | None = None) -> None:
        super().__init__(folder)
        self._answer = answer

    def start(self, argv, folder, stdin="", name="job"):
        return [*argv], stdin

    def collect(self, job, timeout_s):
        return self._answer or run_to_end("the runner", job[0], timeout_s, self.environment, job[1])


def job(model: Path) -> Job:
    return Job.of(QUICK, (JobModel(path=model),))


def test_the_first_python_with_litert_is_found(tmp_path: Path):
    bare = tmp_path / "bare python"
    bare.write_text("#!/bin/sh\nexit 1\n")
    bare.chmod(0o755)
    shell = Local(tmp_path)
    assert find_python(shell, ["/nowhere/python", str(bare), sys.executable, "python3"]) == sys.executable
    assert find_python(shell, [str(bare), "/nowhere/python"]) is None


def test_a_job_comes_back_with_its_load(tmp_path: Path, tiny_tflite: Path):
    runner = LitertRemote(Local(tmp_path), sys.executable)
    result = runner.run(job(tiny_tflite), str(tmp_path))
    assert sum(map(len, result.models[0].blocks)) >= 5 and result.runtime.runner == "litert_runner.py"
    load = runner.load(job(tiny_tflite), str(tmp_path), seconds=0.3)
    assert 0.3 <= load.busy_s <= load.end_s - load.start_s + 1e-3 and load.inferences > 5


def test_operations_are_timed_where_the_board_is(tmp_path: Path, tiny_tflite: Path):
    ops = LitertRemote(Local(tmp_path), sys.executable).ops(job(tiny_tflite), str(tmp_path))
    assert not isinstance(ops, Missing)
    assert len([op for op in ops if op.type.startswith("Convolution")]) == 2


def test_a_board_whose_profiler_crashes_says_so(tmp_path: Path, tiny_tflite: Path):
    crashed = Local(tmp_path, Finished(exit_code=139, stdout="", stderr=""))
    ops = LitertRemote(crashed, sys.executable).ops(job(tiny_tflite), str(tmp_path))
    assert isinstance(ops, Missing) and "LiteRT's profiler: the runner was ended by SIGSEGV" in ops.reason


def test_messages_name_the_users_file(tmp_path: Path):
    damaged = tmp_path / "mine.tflite"
    damaged.write_bytes(b"\x1c\0\0\0TFL3" + b"\0" * 64)
    with pytest.raises((UsageError, RunnerError), match=r"mine\.tflite: ") as caught:
        LitertRemote(Local(tmp_path), sys.executable).run(job(damaged), str(tmp_path))
    assert "cache-" not in str(caught.value)


@pytest.mark.parametrize(
    ("exit_code", "stdout", "expected"),
    [
        (139, "", r"mine\.tflite: the runner was ended by SIGSEGV .*it printed nothing"),
        (128 + 40, "", r"ended by signal 40"),
        (128 + 99, "", r"ended with exit code 227"),
        (3, "Traceback", r"mine\.tflite: the runner ended with exit code 3.*\n.*Traceback"),
        (0, "hello", r"mine\.tflite: the runner ended without a result"),
        (0, "POCKETPRUNE-RESULT {", r"cannot be read"),
    ],
)
def test_what_went_wrong_is_named(tmp_path: Path, exit_code: int, stdout: str, expected: str):
    answer = Finished(exit_code=exit_code, stdout=stdout, stderr="")
    model = tmp_path / "mine.tflite"
    model.write_bytes(b"any")
    with pytest.raises(RunnerError, match=expected):
        LitertRemote(Local(tmp_path, answer), "python3").run(job(model), str(tmp_path))
