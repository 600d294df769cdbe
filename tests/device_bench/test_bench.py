"""The real thing where it can run: real files, a real runner process, LiteRT. The fake device scripts the failures."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import device_bench
from device_bench import assemble, judge, sitting
from device_bench.device import JobResult, ModelRun
from device_bench.errors import DeviceUnavailableError, TransientDeviceError, UsageError
from device_bench.records import BenchSpec, DelegateUse, Measurement, ThermalState
from device_bench.sidecar import Golden, Sidecar, TensorData, sidecar_path
from tests.busy_machine import ANY_LOAD

REMEDY = "--allow-partial (allow_partial) lets it count"
QUICK = BenchSpec(warmup_runs=2, timed_runs=20, min_seconds=0.02, readiness=ANY_LOAD)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sitting, "RETRY_AFTER_S", 0.0)


def test_a_whole_network_on_the_host(tiny_tflite: Path):
    measured = device_bench.benchmark(tiny_tflite, spec=QUICK)
    assert measured.valid and measured.rejections == ()
    assert measured.device.kind == "host"
    assert measured.runtime.name == "litert" and measured.runtime.version[0].isdigit()
    assert measured.artifact.sha256 == hashlib.sha256(tiny_tflite.read_bytes()).hexdigest()
    assert measured.artifact.size_bytes == tiny_tflite.stat().st_size
    assert measured.latency_ms.n >= 20 and min(measured.latency_ms.samples or ()) > 0
    assert measured.fps is not None and measured.fps <= 1000 / measured.latency_ms.mean
    assert measured.latency_ms.n / measured.fps >= QUICK.min_seconds
    assert measured.delegate is not None
    assert measured.delegate.partitions == 1
    assert measured.delegate.nodes_delegated == measured.delegate.nodes_total > 3
    assert Measurement.model_validate_json(measured.model_dump_json()) == measured


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_the_runners_own(tiny_tflite: Path):
    ballast = np.ones(40_000_000)  # 320 MB in this process must not show
    memory = device_bench.benchmark(tiny_tflite, spec=QUICK).memory
    assert memory is not None and ballast.size
    assert 0 < memory.model_mb < memory.peak_rss_mb < 200


def test_what_was_not_measured_says_why(tiny_tflite: Path):
    measured = device_bench.benchmark(tiny_tflite, spec=QUICK)
    assert measured.ops is None and measured.missing["ops"] == "not asked for"
    assert measured.latency_ms.ci95 is None and "one process" in measured.missing["latency_ms.ci95"]
    for name in ("power", "thermal"):
        assert (getattr(measured, name) is None) == (name in measured.missing)


def test_several_processes_give_an_interval(tiny_tflite: Path):
    measured = device_bench.benchmark(tiny_tflite, spec=QUICK.model_copy(update={"processes": 3}))
    latency = measured.latency_ms
    assert len(latency.processes) == 3 and sum(latency.processes) == latency.n
    assert latency.ci95 is not None and latency.ci95[0] <= latency.ci95[1]
    assert "latency_ms.ci95" not in measured.missing


@pytest.mark.parametrize("model", ["split_tflite", "tail_tflite"])
def test_operations_outside_the_delegate_reject(model: str, request: pytest.FixtureRequest):
    measured = device_bench.benchmark(request.getfixturevalue(model), spec=QUICK)
    assert not measured.valid
    assert measured.rejections[0].startswith("partially delegated: XNNPACK took ")
    assert measured.delegate is not None
    assert measured.delegate.nodes_delegated == measured.delegate.nodes_total - 1


def write_sidecar(model: Path, golden: Golden | None, sha256: str | None = None) -> None:
    sidecar = Sidecar(
        sha256=sha256 or hashlib.sha256(model.read_bytes()).hexdigest(),
        format="tflite",
        precision="fp32",
        accuracy=None,
        preprocessing={},
        parity={},
        golden=golden,
    )
    sidecar_path(model).write_text(sidecar.model_dump_json())


def run_in_another_process(model: Path, images: np.ndarray) -> np.ndarray:
    """Outputs of a plain interpreter; elsewhere, so that this process never loads LiteRT."""
    code = (
        "import sys, json, numpy as np\n"
        "from ai_edge_litert.interpreter import Interpreter\n"
        "model = Interpreter(sys.argv[1]); model.allocate_tensors()\n"
        "outputs = []\n"
        "for image in np.array(json.load(sys.stdin), dtype=np.float32):\n"
        "    model.set_tensor(model.get_input_details()[0]['index'], image); model.invoke()\n"
        "    outputs.append(model.get_tensor(model.get_output_details()[0]['index']).tolist())\n"
        "print(json.dumps(outputs))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(model)],
        input=json.dumps(images.tolist()),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return np.array(json.loads(done.stdout), dtype=np.float32)


@pytest.fixture
def golden_model(tiny_tflite: Path, tmp_path: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    """A copy of the tiny model, two images (2, 1, 32, 32, 3) and its own outputs for them (2, 1, 10)."""
    model = tmp_path / "model.tflite"
    model.write_bytes(tiny_tflite.read_bytes())
    images = np.random.default_rng(3).standard_normal((2, 1, 32, 32, 3)).astype(np.float32)
    return model, images, run_in_another_process(model, images)


def golden(images: np.ndarray, outputs: np.ndarray) -> Golden:
    return Golden(
        inputs=tuple(map(TensorData.from_array, images)),
        outputs=tuple(map(TensorData.from_array, outputs)),
        max_rel_error=1e-3,
    )


def test_the_right_answer_is_accepted(golden_model):
    model, images, outputs = golden_model
    write_sidecar(model, golden(images, outputs))
    measured = device_bench.benchmark(model, spec=QUICK)
    assert measured.valid
    assert measured.artifact.precision == "fp32"


@pytest.mark.parametrize("fault", ["second output differs", "not a number", "other shape"])
def test_a_wrong_answer_is_rejected(golden_model, fault):
    model, images, outputs = golden_model
    if fault == "second output differs":
        outputs[1, 0, 4] += 0.01 * np.abs(outputs).max()
    elif fault == "not a number":
        images[1] = np.nan
    else:
        outputs = outputs[..., :5]
    write_sidecar(model, golden(images, outputs))
    measured = device_bench.benchmark(model, spec=QUICK)
    assert not measured.valid
    assert measured.rejections[0].startswith("wrong answer: differs from the golden outputs by ")


def test_golden_inputs_of_another_network_are_a_usage_error(golden_model):
    model, images, outputs = golden_model
    write_sidecar(model, golden(images[:, :, :16], outputs))
    with pytest.raises(UsageError, match="its golden inputs do not fit it"):
        device_bench.benchmark(model, spec=QUICK)


def test_a_stale_sidecar_is_a_usage_error(golden_model):
    model, *_ = golden_model
    write_sidecar(model, None, sha256="0" * 64)
    with pytest.raises(UsageError, match="written for another file"):
        device_bench.benchmark(model, spec=QUICK)


def test_many_files_come_back_in_order_and_one_by_one(tmp_path: Path):
    paths = [tmp_path / f"{i}.bin" for i in range(4)]
    for i, path in enumerate(paths):
        path.write_bytes(b"x" * (1000 - i))
    seen: list[tuple[int, str]] = []
    measured = device_bench.benchmark_many(
        paths, "fake://lab", on_result=lambda i, m: seen.append((i, m.artifact.path))
    )
    assert [m.artifact.path for m in measured] == [str(path) for path in paths]
    assert seen == [(i, str(path)) for i, path in enumerate(paths)]


def test_all_files_are_checked_before_the_first_is_run(tmp_path: Path):
    good = tmp_path / "good.bin"
    good.write_bytes(b"x")
    seen: list[int] = []
    with pytest.raises(UsageError, match=r"missing\.bin: no such file"):
        device_bench.benchmark_many(
            [good, tmp_path / "missing.bin"], "fake://lab", on_result=lambda i, _: seen.append(i)
        )
    assert seen == []


@pytest.fixture
def some_file(tmp_path: Path) -> Path:
    path = tmp_path / "model.bin"
    path.write_bytes(b"x" * 2**20)
    return path


def test_transient_failures_are_retried_and_no_others(some_file: Path):
    assert device_bench.benchmark(some_file, "fake://flaky?fail=2").latency_ms.median == 1.0
    with pytest.raises(TransientDeviceError, match=f"tried {sitting.ATTEMPTS} times"):
        device_bench.benchmark(some_file, "fake://flaky?fail=3")
    with pytest.raises(DeviceUnavailableError):
        device_bench.benchmark(some_file, "fake://gone")


def test_a_devices_own_rejection_is_kept(some_file: Path):
    measured = device_bench.benchmark(some_file, "fake://hot?reject=charging", BenchSpec(processes=2))
    assert not measured.valid
    assert measured.rejections == ("charging",)


@pytest.mark.parametrize("accelerator", ["gpu", "npu", "ane"])
def test_an_accelerator_that_is_not_there(tiny_tflite: Path, accelerator):
    with pytest.raises(UsageError, match=f"'{accelerator}'.*cpu only"):
        device_bench.benchmark(tiny_tflite, spec=BenchSpec(accelerator=accelerator))


def run_of(delegate: DelegateUse | None = None, throttled: bool | None = None) -> tuple[JobResult, ModelRun]:
    model = ModelRun(
        init_ms=1.0,
        first_ms=1.0,
        blocks=((1.0,),),
        wall_s=0.001,
        golden_error=None,
        delegate=delegate,
        missing={} if delegate else {"delegate": "none here"},
    )
    result = JobResult.model_validate(
        {
            "runtime": {"name": "litert", "version": "0", "runner": "none"},
            "models": [model],
            "memory": None,
            "thermal": ThermalState(
                start_c=40.0, end_c=50.0, freq_mhz_min=None, freq_mhz_max=None, throttled=throttled
            ),
            "missing": {"memory": "none here"},
        }
    )
    return result, model


@given(st.lists(st.sampled_from([True, False, None]), min_size=1, max_size=4))
def test_throttled_is_known_only_where_a_process_knew_it(throttled):
    subject = judge.Subject.model_validate(
        {
            "artifact": {"path": "m", "sha256": "0", "format": "tflite", "precision": None, "size_bytes": 1},
            "golden": None,
        }
    )
    info = device_bench.open_device("fake://lab").info()
    sat = sitting.Sitting(BenchSpec(), (subject,))
    for value in throttled:
        sat.take(run_of(throttled=value)[0], "now")
    measured = assemble.assemble(info, sat)
    assert measured.thermal is not None
    kept = [value for value in throttled if not value]
    expected = (False if False in kept else None) if kept else True
    assert measured.thermal.throttled is expected
    assert measured.valid is bool(kept)
    assert len(measured.rejected) == throttled.count(True)


@pytest.mark.parametrize(
    ("use", "expected"),
    [
        ((1, 5, 5), ()),
        ((0, 0, 5), ("not delegated: XNNPACK took none of 5 operations",)),
        ((2, 5, 6), (f"partially delegated: XNNPACK took 5 of 6 operations in 2 partition(s); {REMEDY}",)),
        ((1, 4, 6), (f"partially delegated: XNNPACK took 4 of 6 operations in 1 partition(s); {REMEDY}",)),
    ],
)
def test_delegation_rules(use, expected):
    partitions, delegated, total = use
    delegate = DelegateUse(name="XNNPACK", partitions=partitions, nodes_delegated=delegated, nodes_total=total)
    assert tuple(judge.rejections(*run_of(delegate), None, BenchSpec())) == expected


@pytest.mark.parametrize(
    ("accelerator", "error", "wrong"),
    [("cpu", 9e-4, False), ("cpu", 0.01, True), ("gpu", 0.01, False), ("gpu", 0.05, True), ("npu", float("inf"), True)],
)
def test_an_accelerator_may_round_and_not_err(accelerator, error, wrong):
    result, model = run_of(None)
    golden = Golden(inputs=(), outputs=(), max_rel_error=1e-3)
    spec = BenchSpec.model_validate({"accelerator": accelerator})
    reasons = judge.rejections(result, model.model_copy(update={"golden_error": error}), golden, spec)
    assert any("wrong answer" in reason for reason in reasons) is wrong


def test_the_package_is_cheap_to_import():
    code = "import sys, device_bench; print([m for m in ('numpy', 'pydantic', 'scipy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
    assert all(callable(getattr(device_bench, name)) for name in device_bench.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = device_bench.nonsense
