"""The driver against the rig's stand-in for benchmark_model, which runs the network through LiteRT on this machine."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from device_bench.device import Job, JobModel, JobResult
from device_bench.errors import RunnerError, UsageError
from device_bench.records import BenchSpec
from device_bench.runners.benchmark_model import BenchmarkModel
from device_bench.runners.benchmark_tool import Tool
from device_bench.sidecar import Golden, TensorData
from tests.device_bench.runners.local_remote import LocalRemote

STAND_IN = Path(__file__).parents[2] / "rig" / "guest" / "benchmark_model.py"


def run(folder: Path, model: Path, golden: Golden | None = None, build: str = "current", **spec: object) -> JobResult:
    tool = folder / "benchmark_model"
    tool.write_text(f"#!{sys.executable}\n{STAND_IN.read_text()}")
    tool.chmod(0o755)
    fault = spec.pop("fault", None)
    (folder / "benchmark_model.plays").write_text(json.dumps({"build": build, "fault": fault}))
    given = BenchSpec.model_validate({"warmup_runs": 1, "timed_runs": 5, "min_seconds": 0.0, **spec})
    job = Job.of(given, (JobModel(path=model, golden=golden),))
    return BenchmarkModel(Tool(LocalRemote(folder), str(tool), "0" * 64)).run(job, str(folder))


@pytest.fixture(scope="module")
def golden(tiny_tflite: Path) -> Golden:
    net = Interpreter(model_path=str(tiny_tflite))
    net.allocate_tensors()
    x = np.random.default_rng(0).standard_normal(net.get_input_details()[0]["shape"]).astype(np.float32)
    net.set_tensor(net.get_input_details()[0]["index"], x)
    net.invoke()
    y = net.get_tensor(net.get_output_details()[0]["index"])
    return Golden(inputs=(TensorData.from_array(x),), outputs=(TensorData.from_array(y),), max_rel_error=1e-4)


@pytest.mark.parametrize("build", ["current", "litert"])
def test_newer_builds_give_aggregates_with_a_median(tmp_path, tiny_tflite, golden, build):
    result = run(tmp_path, tiny_tflite, golden, build)
    (model,) = result.models
    assert model.aggregates is not None and model.aggregates[0].median is not None
    assert model.delegate is not None
    assert (model.delegate.partitions, model.delegate.nodes_delegated) == (1, model.delegate.nodes_total)
    assert result.memory is not None and result.memory.peak_rss_mb > 10
    assert model.ops
    if build == "litert":
        assert model.golden_error is None and "golden_error" in model.missing
    else:
        assert model.golden_error is not None and model.golden_error < 1e-6


def test_builds_without_percentiles_give_samples(tmp_path, tiny_tflite, golden):
    (model,) = run(tmp_path, tiny_tflite, golden, "tflite").models
    assert model.aggregates is None
    assert len(model.blocks[0]) == 5
    assert model.golden_error is not None and model.golden_error < 1e-6


def test_the_build_of_2018_gives_samples_and_nothing_more(tmp_path, tiny_tflite, golden):
    result = run(tmp_path, tiny_tflite, golden, "old")
    (model,) = result.models
    assert len(model.blocks[0]) == 5
    assert {"golden_error", "ops", "latency_ms.n"} <= set(model.missing)


def test_a_network_that_xnnpack_leaves_in_part(tmp_path, split_tflite):
    delegate = run(tmp_path, split_tflite).models[0].delegate
    assert delegate is not None
    assert delegate.partitions == 2


def test_a_gpu_that_is_not_there_is_no_measurement_of_a_gpu(tmp_path, tiny_tflite):
    delegate = run(tmp_path, tiny_tflite, accelerator="gpu").models[0].delegate
    assert delegate is not None and (delegate.name, delegate.partitions) == ("GPU", 0)


def test_a_fast_wrong_answer_shows(tmp_path, tiny_tflite, golden):
    error = run(tmp_path, tiny_tflite, golden, fault="wrong").models[0].golden_error
    assert error is not None and error > golden.max_rel_error


@pytest.mark.parametrize(("fault", "message"), [("segv", "SIGSEGV"), ("garbage", "benchmark_model")])
def test_faults(tmp_path, tiny_tflite, fault, message):
    with pytest.raises(RunnerError, match=message):
        run(tmp_path, tiny_tflite, fault=fault)


def test_a_damaged_network_is_the_users_error(tmp_path, tiny_tflite):
    damaged = tmp_path / "damaged.tflite"
    content = bytearray(tiny_tflite.read_bytes())
    content[len(content) // 3 : len(content) // 2] = bytes(len(content) // 2 - len(content) // 3)
    damaged.write_bytes(content[: len(content) // 2])
    with pytest.raises((UsageError, RunnerError)):
        run(tmp_path, damaged)
