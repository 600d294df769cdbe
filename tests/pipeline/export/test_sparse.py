"""Files without the zeros of a network: they compute the same, are smaller, and are not written for nothing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils
from torch import nn

import device_bench
from device_bench.records import BenchSpec
from pipeline.config import ExportSection
from pipeline.data.splits import DataSet
from pipeline.export.variant import ExportWorkers, export_variant
from pipeline.records import Artifact
from pipeline.terminal.measurements import print_measurements
from tests.busy_machine import ANY_LOAD
from tests.pipeline.export.conftest import SIDE, Exported
from tests.pipeline.export.test_variant import run_litert
from tests.rig.device import RigDevice

ZEROS = 0.9
SETTINGS = ExportSection(tflite=("fp32", "fp32-sparse"), coreml=("fp16", "fp16-sparse"))
QUICK = BenchSpec(warmup_runs=0, timed_runs=2, min_seconds=0.0, readiness=ANY_LOAD)
POINTWISE = 3
"""1x1 convolutions of the network below."""


def mobile(zeros: float) -> nn.Module:
    """What XNNPACK has sparse kernels for: a 3x3 stem of stride 2, 1x1 and depthwise convolutions, a mean."""

    def layer(c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Module:
        conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups)
        return nn.Sequential(conv, nn.ReLU6())

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        network = nn.Sequential(
            layer(3, 32, 3, 2),
            *(layer(32, 96, 1), layer(96, 96, 3, 2, groups=96), layer(96, 64, 1), layer(64, 96, 1)),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(96, 10)),
        )
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                size = module.weight.abs().flatten()
                module.weight.view(-1)[size.argsort()[: round(zeros * len(size))]] = 0.0
    return network


@pytest.fixture(scope="module")
def sparse(digits: DataSet, workers: ExportWorkers, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    folder = tmp_path_factory.mktemp("sparse") / "export"
    folder.mkdir()
    said: list[str] = []
    found = export(mobile(ZEROS), digits, workers, folder, said)
    return Exported(folder, {artifact.path.removeprefix("export/x-"): artifact for artifact in found}, said)


def export(
    network: nn.Module, digits: DataSet, workers: ExportWorkers, folder: Path, said: list[str]
) -> list[Artifact]:
    return export_variant(
        network, variant="x", data=digits, settings=SETTINGS, folder=folder, workers=workers, on_progress=said.append
    )


def operators(path: Path) -> Counter[str]:
    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    model = flatbuffer_utils.read_model(str(path))
    codes = [flatbuffer_utils.get_builtin_code_from_operator_code(code) for code in model.operatorCodes]
    return Counter(names[codes[operator.opcodeIndex]] for operator in model.subgraphs[0].operators)


def test_a_sparse_tflite_file_is_the_fp32_file_without_its_zeros(sparse: Exported) -> None:
    dense, without = sparse.artifacts["fp32.tflite"], sparse.artifacts["fp32-sparse.tflite"]
    assert without.size_bytes < 0.5 * dense.size_bytes
    paths = [sparse.folder / "x-fp32.tflite", sparse.folder / "x-fp32-sparse.tflite"]
    image = np.random.default_rng(0).standard_normal((1, SIDE, SIDE, 3)).astype(np.float32)
    assert np.array_equal(*(run_litert(path, image) for path in paths))
    added = operators(paths[1]) - operators(paths[0])
    assert added["DENSIFY"] >= POINTWISE
    assert set(added) == {"DENSIFY"} and not operators(paths[0]) - operators(paths[1])


def test_it_passes_the_gate_of_fp32_and_runs_in_one_piece(sparse: Exported) -> None:
    artifact = sparse.artifacts["fp32-sparse.tflite"]
    assert (artifact.precision, artifact.parity.passed, artifact.missing) == ("fp32-sparse", True, {})
    assert artifact.parity.max_rel_error == sparse.artifacts["fp32.tflite"].parity.max_rel_error


def test_a_sparse_core_ml_file_computes_what_the_fp16_file_does(sparse: Exported) -> None:
    dense, without = sparse.artifacts["fp16.mlpackage"], sparse.artifacts["fp16-sparse.mlpackage"]
    assert without.size_bytes < dense.size_bytes
    assert without.parity.max_rel_error == dense.parity.max_rel_error is not None
    assert without.evaluation == dense.evaluation is not None


def test_a_second_export_gives_the_same_bytes(
    sparse: Exported, digits: DataSet, workers: ExportWorkers, tmp_path: Path
) -> None:
    for artifact in export(mobile(ZEROS), digits, workers, tmp_path, []):
        assert artifact.sha256 == sparse.artifacts[Path(artifact.path).name.removeprefix("x-")].sha256


@pytest.mark.parametrize("zeros", [0.0, 0.25])
def test_sparse_files_that_would_save_nothing_are_not_written(
    zeros: float, digits: DataSet, workers: ExportWorkers, tmp_path: Path
) -> None:
    said: list[str] = []
    found = export(mobile(zeros), digits, workers, tmp_path, said)
    assert [artifact.precision for artifact in found] == ["fp32", "fp16"]
    assert f"no sparse files: {zeros:.0%} of the weights are zero; with less than 30% they save nothing" in said


def test_the_host_says_whether_sparse_mode_engaged(sparse: Exported, capsys: pytest.CaptureFixture[str]) -> None:
    path = sparse.folder / "x-fp32-sparse.tflite"
    measured = device_bench.benchmark(path, spec=QUICK, power=False)
    stored = operators(path)["DENSIFY"]
    assert measured.sparse is not None and measured.sparse.stored == stored
    print_measurements([measured])
    said = " ".join(capsys.readouterr().out.split())
    assert f"x-fp32-sparse.tflite: {stored} weight tensors held without their zeros; sparse mode " in said
    if "avx" in Path("/proc/cpuinfo").read_text():  # XNNPACK has no sparse mode there
        assert measured.sparse.kernels == 0
        assert "sparse mode did not engage: they were unpacked, and the zeros computed with" in said


def test_sparse_mode_engages_on_arm64(sparse: Exported, rig_emulator: RigDevice) -> None:
    """XNNPACK's own profile of the inference says so; the wheels of LiteRT have no log line for it."""
    measured = device_bench.benchmark(
        sparse.folder / "x-fp32-sparse.tflite", rig_emulator.spec, spec=QUICK, power=False
    )
    assert measured.device.abi == "aarch64" and not measured.rejections
    assert measured.sparse is not None and measured.sparse.kernels == POINTWISE
    assert measured.ops is not None
    assert sum(op.type == "Convolution (NCHW, F32) SPMM" for op in measured.ops) == POINTWISE
