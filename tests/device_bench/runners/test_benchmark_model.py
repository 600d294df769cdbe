import base64
import json
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from device_bench.device import Job, JobModel, JobResult, ModelRun
from device_bench.errors import DeviceUnavailableError, RunnerError, UsageError
from device_bench.records import BenchSpec
from device_bench.runners import litert_runner
from device_bench.runners.benchmark_golden import outputs_error, relative_error
from device_bench.runners.benchmark_model import MAX_SINGLES, MIN_ROUNDS, BenchmarkModel
from device_bench.runners.benchmark_tool import Tool
from device_bench.sidecar import Golden, TensorData
from device_bench.tflite import read_graph
from tests.device_bench.runners.local_remote import LocalRemote

FAKE = Path(__file__).with_name("fake_tool.py")
TFLITE = [
    "graph", "num_threads", "num_runs", "min_secs", "max_secs", "warmup_runs", "warmup_min_secs", "use_xnnpack",
    "use_gpu", "use_nnapi", "enable_op_profiling", "input_layer", "input_layer_shape", "input_layer_value_files",
    "output_filepath",
]  # fmt: skip
LITERT = [*TFLITE[:7], "use_gpu", "use_npu", "use_profiler", "result_file_path"]
XNNPACK = "INFO: Explicitly applied XNNPACK delegate, and the model graph will be completely executed by the delegate."
NOT_GPU = "INFO: Though GPU delegate is explicitly applied, the model graph will not be executed by the delegate."
ANSWER = np.linspace(-1, 2, 10, dtype=np.float32).reshape(1, 10)


def replacing(delegate: str) -> str:
    return f"Replacing 9 out of 9 node(s) with delegate ({delegate}) node, yielding 1 partitions for subgraph 0."


class Bench:
    """The driver with the fake tool on this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.remote = LocalRemote(folder)
        self.tool = folder / "benchmark_model"
        self.tool.write_text(f"#!{sys.executable} -IS\n{FAKE.read_text()}")
        self.tool.chmod(0o755)
        self.plays(flags=TFLITE, median=True, says=[XNNPACK])
        self.driver = BenchmarkModel(Tool(self.remote, str(self.tool), "f3729eaf" + "0" * 56))

    def plays(self, **behaviour: object) -> None:
        (self.folder / "behaviour.json").write_text(json.dumps(behaviour))

    def job(self, *models: Path, golden: Golden | None = None, **spec: object) -> Job:
        given = BenchSpec.model_validate({"warmup_runs": 2, "timed_runs": 20, "min_seconds": 0.0, **spec})
        return Job.of(given, tuple(JobModel(path=path, golden=golden) for path in models))

    def run(self, *models: Path, golden: Golden | None = None, **spec: object) -> JobResult:
        return self.driver.run(self.job(*models, golden=golden, **spec), str(self.folder))

    def one(self, model: Path, golden: Golden | None = None, **spec: object) -> ModelRun:
        return self.run(model, golden=golden, **spec).models[0]

    def calls(self) -> list[dict[str, str]]:
        lines = (self.folder / "calls.txt").read_text().splitlines()
        return [dict(arg.removeprefix("--").split("=", 1) for arg in json.loads(line)) for line in lines]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def golden() -> Golden:
    x = np.zeros((1, 32, 32, 3), dtype=np.float32)
    return Golden(inputs=(TensorData.from_array(x),), outputs=(TensorData.from_array(ANSWER),), max_rel_error=1e-3)


def test_one_model_is_one_run_of_the_tool_and_its_median(bench, tiny_tflite):
    result = bench.run(tiny_tflite, threads=2)
    (run,) = result.models
    assert run.aggregates is not None and len(run.aggregates) == 1
    assert run.aggregates[0].n == 20
    assert run.blocks == ((run.aggregates[0].median,),)
    assert run.wall_s == pytest.approx(run.aggregates[0].mean * 20 / 1e3)
    assert run.init_ms == 3.5
    assert run.delegate is not None and run.delegate.partitions == 1
    assert run.delegate.nodes_total == read_graph(tiny_tflite).operations > 3
    assert run.ops is not None and run.ops[0].type == "CONV_2D"
    assert result.runtime.version == "benchmark_model f3729eaf"
    assert result.missing == {"thermal": "not watched"}
    timed = bench.calls()[0]
    assert (timed["num_threads"], timed["num_runs"], timed["warmup_runs"]) == ("2", "20", "2")
    assert float(timed["max_secs"]) >= 300


def test_profile_memory_and_golden_runs_are_not_the_timed_one(bench, tiny_tflite):
    bench.plays(flags=TFLITE, median=True, says=[XNNPACK], output=ANSWER.tobytes().hex())
    seen = []

    @contextmanager
    def watch():
        yield
        seen.extend(bench.calls())

    bench.driver.run(bench.job(tiny_tflite, golden=golden()), str(bench.folder), watch())
    assert len(seen) == 1
    assert not {"enable_op_profiling", "output_filepath", "report_peak_memory_footprint"} & set(seen[0])
    assert len(bench.calls()) == 4


def test_what_is_beside_the_timing_is_found_once_for_all_processes(bench, tiny_tflite):
    first, second = (bench.run(tiny_tflite) for _ in range(2))
    assert len(bench.calls()) == 3 + 1
    assert (first.memory, first.models[0].ops) == (second.memory, second.models[0].ops)


def test_memory_is_the_processes_peak_with_the_tools_own_growth(bench, tiny_tflite):
    memory = bench.run(tiny_tflite).memory
    assert memory is not None
    assert 3 < memory.peak_rss_mb < 500
    assert memory.model_mb == 8.25
    assert "VmHWM" in memory.method and "own log" in memory.method


def test_several_models_take_turns_in_balanced_order(bench, tiny_tflite, wide_tflite):
    result = bench.run(tiny_tflite, wide_tflite, tiny_tflite)
    assert [len(run.blocks) for run in result.models] == [MIN_ROUNDS] * 3
    assert all(len(run.aggregates or ()) == MIN_ROUNDS for run in result.models)
    assert result.models[1].blocks[0][0] > result.models[0].blocks[0][0]
    assert result.memory is None and "one by one" in result.missing["memory"]
    sizes = {tiny_tflite.stat().st_size: "t", wide_tflite.stat().st_size: "w"}
    order = [sizes[Path(call["graph"]).stat().st_size] for call in bench.calls()[: 3 * MIN_ROUNDS]]
    rounds = ["".join(order[i : i + 3]) for i in range(0, len(order), 3)]
    assert all(sorted(round_) == ["t", "t", "w"] for round_ in rounds)
    assert [round_[::-1] for round_ in rounds[::2]] == rounds[1::2]
    assert bench.calls()[0]["num_runs"] == "2"


def test_without_a_median_in_the_log_the_result_file_gives_it(bench, tiny_tflite):
    bench.plays(flags=[*TFLITE, "result_file_path"], says=[XNNPACK])
    run = bench.one(tiny_tflite)
    assert run.aggregates is not None and run.aggregates[0].median is not None
    assert run.aggregates[0].n == 20
    assert run.init_ms == 3.5


def test_without_any_median_single_inferences_are_samples(bench, tiny_tflite):
    bench.plays(flags=TFLITE, says=[XNNPACK])
    run = bench.one(tiny_tflite, timed_runs=100)
    assert run.aggregates is None
    assert [len(block) for block in run.blocks] == [MAX_SINGLES]
    assert f"{MAX_SINGLES} samples" in run.missing["latency_ms.n"] and "100 were asked" in run.missing["latency_ms.n"]
    before = len(bench.calls())
    assert bench.one(tiny_tflite, timed_runs=3).blocks[0][1:] == run.blocks[0][1:3]
    assert [call["num_runs"] for call in bench.calls()[before:]] == ["1"] * 3  # it is known by now


@pytest.mark.parametrize(
    ("spec", "says", "partitions"),
    [
        ({"accelerator": "gpu"}, [NOT_GPU], 0),
        ({"accelerator": "gpu"}, [XNNPACK], 0),
        ({"accelerator": "gpu"}, [replacing("TfLiteGpuDelegateV2")], 1),
        ({"accelerator": "npu", "delegate": "nnapi"}, [], 0),
    ],
)  # fmt: skip
def test_a_delegate_that_was_asked_for_must_have_been_used(bench, tiny_tflite, spec, says, partitions):
    bench.plays(flags=TFLITE, median=True, says=says)
    delegate = bench.one(tiny_tflite, **spec).delegate
    assert delegate is not None and delegate.partitions == partitions


def test_litert_2_has_other_flags(bench, tiny_tflite):
    bench.plays(
        flags=LITERT,
        median=True,
        says=[replacing("TfLiteXNNPackDelegate")],
    )
    run = bench.one(tiny_tflite, golden=golden())
    assert run.delegate is not None and run.delegate.partitions == 1
    assert run.golden_error is None and "no --output_filepath" in run.missing["golden_error"]
    for delegate in ("nnapi", "none"):
        with pytest.raises(UsageError, match="LiteRT 2"):
            bench.run(tiny_tflite, accelerator="npu" if delegate == "nnapi" else "cpu", delegate=delegate)


def test_golden_inputs_are_computed_on_the_device_and_compared(bench, tiny_tflite):
    bench.plays(flags=TFLITE, median=True, says=[XNNPACK], output=ANSWER.tobytes().hex())
    assert bench.one(tiny_tflite, golden=golden()).golden_error == 0.0
    call = next(call for call in bench.calls() if "output_filepath" in call)
    assert call["input_layer_shape"] == "1,32,32,3"
    assert call["use_xnnpack"] == "true"
    name, file = call["input_layer_value_files"].split(":")
    assert name == call["input_layer"]
    assert Path(file).read_bytes() == base64.b64decode(golden().inputs[0].data)


@pytest.mark.parametrize("wrong", [ANSWER + 0.5, ANSWER * np.nan, ANSWER[:, :5]], ids=["off", "nan", "short"])
def test_a_fast_wrong_answer_shows(bench, tiny_tflite, wrong):
    bench.plays(flags=TFLITE, median=True, says=[XNNPACK], output=wrong.astype(np.float32).tobytes().hex())
    error = bench.one(tiny_tflite, golden=golden()).golden_error
    assert error is not None and error >= 0.25


def test_golden_arrays_that_do_not_fit_are_refused(bench, tiny_tflite):
    odd = golden().model_copy(update={"outputs": golden().outputs * 2})
    with pytest.raises(UsageError, match="1 in, 2 out"):
        bench.run(tiny_tflite, golden=odd)


def test_errors_are_computed_as_the_other_runner_does():
    random = np.random.default_rng(0)
    for actual in (random.standard_normal(10), np.zeros(10), np.full(10, np.nan)):
        for expected in (random.standard_normal(10), np.zeros(10)):
            assert relative_error(actual, expected) == litert_runner.relative_error(actual, expected)
    both = (TensorData.from_array(np.array([1, -2], dtype=np.int8)), TensorData.from_array(ANSWER))
    written = np.array([1, -1], dtype=np.int8).tobytes() + ANSWER.tobytes()
    assert outputs_error(written, both) == 0.5


FAULTS = {
    "segfault": ({"signal": "SIGSEGV"}, RunnerError, r"SIGSEGV \(a damaged model file\?\)"),
    "killed": ({"signal": "SIGKILL"}, RunnerError, "SIGKILL"),
    "refused": ({"exit": 1, "says": ["ERROR: Failed to load model /x"]}, UsageError, "cannot load it: ERROR: Failed"),
    "unknown operation": (
        {"exit": 1, "says": ["ERROR: Didn't find op for builtin opcode 'CONV_2D' version '9'."]},
        UsageError,
        "version '9'",
    ),
    "no delegate": (
        {"exit": 1, "says": ["ERROR: Failed to apply GPU delegate."]},
        DeviceUnavailableError,
        "Failed to apply GPU",
    ),
    "failed": ({"exit": 1, "says": ["ERROR: Benchmarking failed."]}, RunnerError, "exit code 1; its last output"),
    "silent": ({"exit": 0}, RunnerError, "without a measurement"),
    "garbage": ({"exit": 0, "says": ["\x00\xff count=x"]}, RunnerError, "without a measurement"),
    "not a program": ({"exit": 126}, RunnerError, "cannot be executed"),
    "shell": ({"exit": 139}, RunnerError, "SIGSEGV"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_run_that_gives_nothing_is_the_right_error(bench, tiny_tflite, fault):
    behaviour, error, message = FAULTS[fault]
    bench.plays(**behaviour)
    with pytest.raises(error, match=message) as raised:
        bench.run(tiny_tflite)
    assert str(tiny_tflite) in str(raised.value)


def test_a_tool_that_hangs_is_ended(bench, tiny_tflite):
    bench.plays(hangs=True)
    job = bench.job(tiny_tflite).model_copy(update={"timeout_s": 0.5})
    with pytest.raises(RunnerError, match="took longer"):
        bench.driver.run(job, str(bench.folder))


def test_a_file_that_is_no_network_is_refused(bench, tmp_path):
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"\xff" * 64)
    with pytest.raises(UsageError, match="not a whole TFLite file"):
        bench.run(broken)


@pytest.mark.skipif(shutil.which("taskset") is None, reason="needs taskset (util-linux)")
def test_affinity_goes_through_taskset(bench, tiny_tflite):
    bench.run(tiny_tflite, affinity=(0,))
    assert bench.remote.commands[0][:2] == ["taskset", "1"]
    with pytest.raises(UsageError, match=r"affinity \[900\]"):
        bench.run(tiny_tflite, affinity=(900,))


def test_without_taskset_affinity_is_refused(bench, tiny_tflite, tmp_path):
    empty = tmp_path / "bin"
    empty.mkdir()
    sh = shutil.which("sh")
    assert sh is not None
    (empty / "sh").symlink_to(sh)
    bench.remote.environment["PATH"] = str(empty)
    with pytest.raises(UsageError, match="it has no taskset"):
        bench.run(tiny_tflite, affinity=(0,))


def test_a_load_says_when_it_was_on_the_devices_clock(bench, tiny_tflite):
    uptime_s = float(Path("/proc/uptime").read_text().split()[0])
    load = bench.driver.load(bench.job(tiny_tflite), str(bench.folder), 2.0)
    assert load.inferences == 1
    assert uptime_s <= load.end_s < uptime_s + 60
    assert 0 < load.end_s - load.start_s < 1
    assert bench.calls()[0]["min_secs"] == "2"
