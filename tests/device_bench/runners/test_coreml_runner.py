"""The Swift runner itself, where a Swift compiler is: against Apple's SDK on a Mac, elsewhere against stand-ins.

Core ML is on Apple's systems only. The stand-ins (in `apple/`) have the declarations that the runner uses and one toy
model, so that everything of ours runs as it would there; what Core ML does, they do not show.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median

import numpy as np
import pytest

from device_bench.answer import read_answer
from device_bench.coreml import RunnerOutput, job_result, job_text
from device_bench.device import Job, JobModel, Missing
from device_bench.errors import RunnerError, UsageError
from device_bench.process import run_process
from device_bench.records import BenchSpec
from device_bench.sidecar import Golden, TensorData
from device_bench.xcode import SOURCES

STAND_INS = Path(__file__).parent / "apple"
FILES = sorted(map(str, SOURCES.glob("*.swift")))

pytestmark = pytest.mark.skipif(shutil.which("swiftc") is None, reason="needs macOS or a Swift compiler (swiftc)")


def swiftc(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["swiftc", "-swift-version", "5", "-warnings-as-errors", *arguments],
        cwd=folder, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def test_it_parses(tmp_path: Path):
    done = swiftc("-parse", *FILES, folder=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(sys.platform != "darwin", reason="needs macOS")
def test_it_fits_apples_interfaces(tmp_path: Path):
    done = swiftc("-typecheck", *FILES, folder=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if sys.platform == "darwin":
        pytest.skip("needs hardware other than a Mac: there Core ML itself is used, by the self-test")
    folder = tmp_path_factory.mktemp("runner")
    finding = ("-I", str(folder), "-L", str(folder), "-Xlinker", "-rpath", "-Xlinker", str(folder))
    for module, needs in (("Darwin", ()), ("CoreVideo", ()), ("CoreML", ("-lCoreVideo",))):
        library = ("-emit-module", "-emit-library", "-module-name", module, "-o", str(folder / f"lib{module}.so"))
        done = swiftc(*library, *finding, *needs, str(STAND_INS / f"{module}.swift"), folder=folder)
        assert done.returncode == 0, done.stderr
    libraries = ("-lCoreML", "-lCoreVideo", "-lDarwin")
    done = swiftc("-O", *finding, *libraries, *FILES, "-o", str(folder / "runner"), folder=folder)
    assert done.returncode == 0, done.stderr
    return folder / "runner"


@pytest.fixture
def toy(tmp_path: Path):
    def make(delay_us: int | str) -> JobModel:
        path = tmp_path / f"toy {delay_us}.mlmodelc"
        path.mkdir(exist_ok=True)
        (path / "coremldata.bin").write_text(str(delay_us))
        return JobModel(path=path)

    return make


def answer(runner: Path, tmp_path: Path, *models: JobModel, timeout_s: float = 60.0, **spec: object) -> RunnerOutput:
    wanted = BenchSpec.model_validate({"warmup_runs": 2, "timed_runs": 20, "min_seconds": 0.1, **spec})
    job = Job.of(wanted, models).model_copy(update={"timeout_s": timeout_s})
    (tmp_path / "job.json").write_text(job_text(job, [model.path for model in models]))
    stdout, stderr = run_process([str(runner), str(tmp_path / "job.json"), str(tmp_path / "pid")], "", 60)
    return read_answer(RunnerOutput, stdout, stderr, job)


def golden(expected: list[list[float]], shape: tuple[int, ...] = (1, 3, 2, 2)) -> Golden:
    """Examples filled with 1, 2, ... whose outputs should be those given."""
    inputs = [TensorData.from_array(np.full(shape, i + 1, np.float32)) for i in range(len(expected))]
    outputs = [TensorData.from_array(np.array([row], np.float32)) for row in expected]
    return Golden(inputs=tuple(inputs), outputs=tuple(outputs), max_rel_error=0.01)


def test_a_model_is_timed(runner: Path, tmp_path: Path, toy):
    output = answer(runner, tmp_path, toy(2000))
    (run,) = output.models
    (samples,) = run.blocks
    assert len(samples) >= 20 and run.wall_s >= 0.1
    assert 2.0 <= median(samples) < 20.0 and run.first_ms >= 2.0
    assert output.loop_s[1] - output.loop_s[0] >= run.wall_s
    assert int((tmp_path / "pid").read_text()) > 1
    job = Job.of(BenchSpec(), (toy(2000),))
    result = job_result(output, job, Missing(reason="not asked"))
    assert result.memory is not None and (result.memory.peak_rss_mb, result.memory.model_mb) == (9.0, 4.0)


def test_models_take_turns(runner: Path, tmp_path: Path, toy):
    fast, slow, again = answer(runner, tmp_path, toy(1000), toy(3000), toy(1000)).models
    assert len(fast.blocks) == len(slow.blocks) == len(again.blocks) >= 10
    ratio = median(ms for turn in slow.blocks for ms in turn) / median(ms for turn in fast.blocks for ms in turn)
    assert 2.0 < ratio < 4.0


@pytest.mark.parametrize(("accelerator", "plan"), [("cpu", None), ("gpu", (0, 3)), ("ane", (2, 3))])
def test_what_is_planned_is_counted_without_constants(runner: Path, tmp_path: Path, toy, accelerator, plan):
    assert answer(runner, tmp_path, toy(10), accelerator=accelerator).plans == (plan,)


@pytest.mark.parametrize(
    ("expected", "error"),
    [
        ([[12.0, -12.0], [24.0, -24.0]], 0.0),
        ([[12.0, -12.0], [24.0, -25.0]], 0.04),
        ([[12.0, -12.0, 0.0]], float("inf")),
        ([[12.0, float("nan")]], float("inf")),
    ],
)
def test_golden_outputs_are_compared(runner: Path, tmp_path: Path, toy, expected, error):
    model = toy(10).model_copy(update={"golden": golden(expected)})
    assert answer(runner, tmp_path, model).models[0].golden_error == pytest.approx(error, abs=1e-6)


def test_what_core_ml_does_not_take_is_refused(runner: Path, tmp_path: Path, toy):
    with pytest.raises(UsageError, match=r"toy nonsense\.mlmodelc: Core ML cannot load it: no toy; export"):
        answer(runner, tmp_path, toy("nonsense"))
    model = toy(10).model_copy(update={"golden": golden([[12.0, -12.0]], shape=(1, 12))})
    with pytest.raises(UsageError, match="golden inputs do not fit it: wrong shape"):
        answer(runner, tmp_path, model)


def test_it_ends_by_itself_when_nobody_ends_it(runner: Path, tmp_path: Path, toy):
    with pytest.raises(RunnerError, match=r"SIGALRM|exit code 142"):
        answer(runner, tmp_path, toy(1000), min_seconds=60.0, timeout_s=0.5)
