"""Every precision of one network: what was written, what it computes, and what is said about it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from torch import nn

from device_bench.accuracy import accuracy_difference
from device_bench.modelfile import fingerprint
from device_bench.records import AccuracyDifference
from device_bench.sidecar import read_sidecar
from pipeline.config import ExportSection
from pipeline.data.splits import DataSet
from pipeline.errors import ExportError
from pipeline.evaluation import evaluate
from pipeline.export.variant import ExportWorkers, export_variant
from pipeline.records import Preprocessing
from tests.pipeline.export.conftest import SIDE, Exported

TFLITE = ("fp32.tflite", "fp16.tflite", "int8.tflite", "dynamic.tflite")
COREML = ("fp16.mlpackage", "int8.mlpackage", "palette6.mlpackage")


def run_litert(path: Path, inputs: np.ndarray) -> np.ndarray:
    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], inputs)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def test_the_files_are_those_asked_for_and_nothing_else(exported: Exported) -> None:
    names = {f"dense-{name}" for name in TFLITE + COREML}
    assert {path.name for path in exported.folder.iterdir()} == names | {f"{name}.json" for name in names}
    assert tuple(exported.artifacts) == TFLITE + COREML
    assert {f"dense-{name}" for name in TFLITE + COREML} <= set(exported.progress)


@pytest.mark.parametrize("name", TFLITE + COREML)
def test_every_file_passes_its_gate(exported: Exported, name: str) -> None:
    parity = exported.artifacts[name].parity
    assert parity.passed is True, parity.reason
    assert parity.n == 200
    assert parity.method == ("litert" if name.endswith("tflite") else "torch-mil")


def test_precision_costs_what_its_bits_say(exported: Exported) -> None:
    errors = {name: artifact.parity.max_rel_error or 0.0 for name, artifact in exported.artifacts.items()}
    assert errors["fp32.tflite"] < 1e-5 < errors["fp16.tflite"] < 0.01 < errors["int8.tflite"]
    assert 1e-5 < errors["fp16.mlpackage"] < 0.01
    assert errors["fp16.mlpackage"] < errors["int8.mlpackage"] < errors["palette6.mlpackage"]
    sizes = {name: artifact.size_bytes for name, artifact in exported.artifacts.items()}
    assert sizes["int8.tflite"] < sizes["fp16.tflite"] < 0.7 * sizes["fp32.tflite"]
    assert sizes["palette6.mlpackage"] < sizes["int8.mlpackage"] < sizes["fp16.mlpackage"]


def test_accuracy_is_that_of_the_test_split(exported: Exported, network: nn.Module, digits: DataSet) -> None:
    of_torch = evaluate(network, digits.test)
    assert of_torch.top1 > 0.85  # the figures below mean something
    for name, artifact in exported.artifacts.items():
        assert artifact.evaluation is not None
        assert artifact.evaluation.split == "test"
        assert artifact.evaluation.n_images == 200
        assert abs(artifact.evaluation.top1 - of_torch.top1) <= (0.0 if name == "fp32.tflite" else 0.02), name


def test_what_runs_in_pieces_is_marked(exported: Exported) -> None:
    marked = {name: artifact.missing["delegation"] for name, artifact in exported.artifacts.items() if artifact.missing}
    assert set(marked) == {"dynamic.tflite"}
    assert "partially delegated" in marked["dynamic.tflite"]


@pytest.mark.parametrize("name", TFLITE)
def test_all_tflite_files_take_and_give_the_same(exported: Exported, name: str) -> None:
    interpreter = Interpreter(str(exported.folder / f"dense-{name}"))
    (source,), (target,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert (source["name"], tuple(source["shape"]), source["dtype"]) == ("input", (1, SIDE, SIDE, 3), np.float32)
    assert (tuple(target["shape"]), target["dtype"]) == ((1, 10), np.float32)


@pytest.mark.parametrize("name", TFLITE + COREML)
def test_sidecar_describes_its_file(exported: Exported, name: str) -> None:
    path, artifact = exported.folder / f"dense-{name}", exported.artifacts[name]
    sidecar = read_sidecar(path)
    assert sidecar is not None and sidecar.accuracy is not None and artifact.evaluation is not None
    assert (sidecar.sha256, artifact.size_bytes) == (artifact.sha256, fingerprint(path)[1])
    assert (sidecar.format, sidecar.precision) == (artifact.format, artifact.precision)
    assert sidecar.sha256 == fingerprint(path)[0]
    assert (sidecar.accuracy.top1, sidecar.accuracy.n) == (artifact.evaluation.top1, 200)
    layout = sidecar.preprocessing.pop("layout")
    assert layout == ("NHWC" if artifact.format == "tflite" else "NCHW")
    assert Preprocessing.model_validate(sidecar.preprocessing).mean == (0.5, 0.5, 0.5)
    assert sidecar.parity["passed"] is True
    assert sidecar.golden is not None


def test_sidecars_say_which_images_are_right_and_can_be_paired(exported: Exported, digits: DataSet) -> None:
    said = {}
    for name, artifact in exported.artifacts.items():
        sidecar = read_sidecar(exported.folder / f"dense-{name}")
        assert sidecar is not None and sidecar.accuracy is not None and artifact.evaluation is not None
        assert sidecar.accuracy.answers is not None
        right = sidecar.accuracy.answers.to_array(200)
        assert right.mean() == pytest.approx(artifact.evaluation.top1)
        said[name] = sidecar.accuracy
    ((images, labels),) = digits.test.batches(1, limit=1)
    first = run_litert(exported.folder / "dense-fp32.tflite", images.permute(0, 2, 3, 1).numpy()).argmax() == labels[0]
    assert said["fp32.tflite"].answers.to_array(200)[0] == bool(first)
    for name in TFLITE + COREML:
        found = accuracy_difference(said["fp32.tflite"], said[name])
        assert isinstance(found, AccuracyDifference) and found.n == 200
        assert found.candidate_top1 == exported.artifacts[name].evaluation.top1
        assert found.verdict == "inconclusive"


@pytest.mark.parametrize("name", TFLITE)
def test_golden_outputs_are_what_the_file_computes(exported: Exported, name: str, digits: DataSet) -> None:
    path = exported.folder / f"dense-{name}"
    sidecar = read_sidecar(path)
    assert sidecar is not None and sidecar.golden is not None
    pairs = list(zip(sidecar.golden.inputs, sidecar.golden.outputs, strict=True))
    assert len(pairs) == 2
    ((images, _),) = digits.validation.batches(2, limit=2)
    for (given, expected), image in zip(pairs, images, strict=True):
        assert np.array_equal(given.to_array()[0], image.permute(1, 2, 0).numpy())
        outputs = run_litert(path, given.to_array())
        scale = np.abs(expected.to_array()).max()
        assert np.abs(outputs - expected.to_array()).max() <= 1e-5 * scale


@pytest.mark.parametrize("name", COREML)
def test_golden_arrays_of_core_ml_are_in_its_layout(
    exported: Exported, name: str, network: nn.Module, digits: DataSet
) -> None:
    sidecar = read_sidecar(exported.folder / f"dense-{name}")
    assert sidecar is not None and sidecar.golden is not None
    ((images, _),) = digits.validation.batches(2, limit=2)
    for given, expected, image in zip(sidecar.golden.inputs, sidecar.golden.outputs, images, strict=True):
        assert np.array_equal(given.to_array()[0], image.numpy())
        with torch.no_grad():
            logits = network.eval()(image[None]).numpy()
        assert expected.to_array().shape == logits.shape
        assert np.abs(expected.to_array() - logits).max() <= 0.2 * np.abs(logits).max()


def test_a_second_export_gives_the_same_bytes(
    exported: Exported, network: nn.Module, digits: DataSet, workers: ExportWorkers, tmp_path: Path
) -> None:
    settings = ExportSection(tflite=("fp32", "fp16", "int8"), coreml=("fp16",))
    again = export_variant(network, variant="dense", data=digits, settings=settings, folder=tmp_path, workers=workers)
    for artifact in again:
        assert artifact.sha256 == exported.artifacts[Path(artifact.path).name.removeprefix("dense-")].sha256


class BranchesOnValues(nn.Module):
    """Tracing keeps the branch that zeros take; real images take the other."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = self.layer(x.mean((2, 3)))
        return features if bool(x.abs().sum() == 0) else features * 2


def test_a_network_that_exports_as_something_else_is_refused(
    digits: DataSet, workers: ExportWorkers, tmp_path: Path
) -> None:
    settings = ExportSection(tflite=("fp32",), coreml=())
    with pytest.raises(ExportError, match=r"^onnx check failed: .* differ"):
        export_variant(
            BranchesOnValues(), variant="x", data=digits, settings=settings, folder=tmp_path, workers=workers
        )
    assert not list(tmp_path.iterdir())


class Cumulative(nn.Module):
    """torch.cumsum: Core ML has it, the evaluator here has not."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(torch.cumsum(x.mean((2, 3)), 1))


def test_an_unknown_operation_is_not_checked_and_never_passed(
    digits: DataSet, workers: ExportWorkers, tmp_path: Path
) -> None:
    settings = ExportSection(tflite=("fp32",), coreml=("fp16",))
    _, coreml = export_variant(
        Cumulative(), variant="x", data=digits, settings=settings, folder=tmp_path, workers=workers
    )
    assert coreml.parity.passed is None
    assert coreml.parity.reason == "not checked: operation cumsum"
    assert coreml.evaluation is None
    assert "cumsum" in coreml.missing["evaluation"]
    assert read_sidecar(tmp_path / "x-fp16.mlpackage") is not None


class LeavesHalfPrecision(nn.Module):
    """Fine in fp32; in fp16 the first layer's weights are infinite."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 8), nn.Linear(8, 10)
        with torch.no_grad():
            self.first.weight.fill_(-1e6)  # the images are darker than their mean
            self.last.weight.mul_(1e-6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu(self.first(x.mean((2, 3)))))


def test_a_file_that_gives_no_numbers_says_why_it_is_not_timed(
    digits: DataSet, workers: ExportWorkers, tmp_path: Path
) -> None:
    settings = ExportSection(tflite=("fp32", "fp16"), coreml=())
    fp32, fp16 = export_variant(
        LeavesHalfPrecision(), variant="x", data=digits, settings=settings, folder=tmp_path, workers=workers
    )
    assert fp32.evaluation is not None and "measurement" not in fp32.missing
    assert fp16.evaluation is None
    assert fp16.missing["measurement"].startswith("not timed: ")
    assert fp16.missing["evaluation"] in fp16.missing["measurement"]
