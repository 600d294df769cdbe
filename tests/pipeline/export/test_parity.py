"""The gates, and files that are not what they should be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ai_edge_litert.tools import flatbuffer_utils
from torch import nn

from device_bench.sidecar import read_sidecar
from pipeline.data.splits import DataSet
from pipeline.export.examiner import Examiner, Images, nhwc
from pipeline.export.parity import judge
from pipeline.export.variant import ExportWorkers
from pipeline.records import Artifact
from tests.pipeline.export.conftest import Exported


def logits(n: int = 200, classes: int = 4) -> torch.Tensor:
    return torch.randn(n, classes, generator=torch.Generator().manual_seed(0))


def swapped(reference: torch.Tensor, count: int) -> torch.Tensor:
    """The first `count` images get another class: their two largest logits change places."""
    changed = reference.clone()
    top = reference[:count].topk(2).indices
    for row in range(count):
        changed[row, top[row]] = reference[row, top[row].flip(0)]
    return changed


@pytest.mark.parametrize(
    ("precision", "wrong", "scale", "passed", "reason"),
    [
        ("fp32", 0, 1.00005, True, None),
        ("fp32", 0, 1.0002, False, "0.0002 of the largest"),
        ("fp16", 2, 1.0, True, None),
        ("fp16", 3, 1.0, False, "98.5% of the images; at least 99%"),
        ("int8", 2, 1.0, True, None),
        ("int8", 3, 1.0, False, "1.5 points of accuracy lost; at most 1"),
        ("dynamic", 3, 1.0, False, "1.5 points"),
        ("fp32-sparse", 0, 1.0002, False, "0.0002 of the largest"),
        ("fp16-sparse", 3, 1.0, False, "98.5% of the images; at least 99%"),
        ("palette6", 3, 1.0, False, "1.5 points"),
        ("int8", 0, 2.0, True, None),
    ],
)
def test_gates(precision: str, wrong: int, scale: float, passed: bool, reason: str | None) -> None:
    reference = logits()
    parity = judge(precision, "litert", swapped(reference, wrong) * scale, reference, reference.argmax(1))
    assert parity.passed is passed
    assert parity.n == 200
    assert parity.top1_agreement == pytest.approx(1 - wrong / 200)
    assert (parity.reason is None) if reason is None else (reason in (parity.reason or ""))


def test_a_file_that_classifies_better_than_torch_passes() -> None:
    better = logits()
    parity = judge("int8", "litert", better, swapped(better, 50), better.argmax(1))
    assert parity.passed is True
    assert parity.top1_agreement == 0.75


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_numbers_that_are_none_fail_every_gate(bad: float) -> None:
    reference = logits()
    broken = reference.clone()
    broken[3, 1] = bad
    for precision in ("fp32", "fp16", "int8"):
        parity = judge(precision, "litert", broken, reference, reference.argmax(1))
        assert parity.passed is False and "NaN or infinite" in (parity.reason or "")
        assert parity.max_rel_error is None


def test_another_number_of_classes_fails() -> None:
    parity = judge("fp16", "litert", logits(classes=3), logits(), logits().argmax(1))
    assert parity.passed is False and "shape (200, 3)" in (parity.reason or "")


def examine(path: Path, precision: str, network: nn.Module, data: DataSet, workers: ExportWorkers) -> Artifact:
    def run(images: Images) -> Images:
        result: Images = workers.tflite.call("running", "tflite:run", path=str(path), images=nhwc(images))
        return result

    return Examiner(network, data, None, None).examine(path, "x", "tflite", precision, "litert", run)


def shuffle_largest_weight(model: bytes) -> bytes:
    parsed = flatbuffer_utils.read_model_from_bytearray(bytearray(model))
    largest = max((b for b in parsed.buffers if b.data is not None), key=lambda b: len(b.data))
    weights = np.frombuffer(bytes(largest.data), np.float32)
    largest.data = np.frombuffer(np.random.default_rng(0).permutation(weights).tobytes(), np.uint8)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(parsed))


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_corrupted_file_fails(
    precision: str, exported: Exported, network: nn.Module, digits: DataSet, workers: ExportWorkers, tmp_path: Path
) -> None:
    path = tmp_path / "x.tflite"
    path.write_bytes(shuffle_largest_weight((exported.folder / "dense-fp32.tflite").read_bytes()))
    artifact = examine(path, precision, network, digits, workers)
    assert artifact.parity.passed is False
    assert artifact.parity.reason
    assert artifact.evaluation is not None and artifact.evaluation.top1 < 0.6
    sidecar = read_sidecar(path)
    assert sidecar is not None and sidecar.parity["passed"] is False


def test_a_file_that_does_not_load_fails_with_the_runtime_s_words(
    exported: Exported, network: nn.Module, digits: DataSet, workers: ExportWorkers, tmp_path: Path
) -> None:
    path = tmp_path / "x.tflite"
    path.write_bytes((exported.folder / "dense-fp32.tflite").read_bytes()[:1000])
    artifact = examine(path, "fp32", network, digits, workers)
    assert artifact.parity.passed is False
    assert "running failed" in (artifact.parity.reason or "")
    assert artifact.evaluation is None and artifact.missing["evaluation"]
