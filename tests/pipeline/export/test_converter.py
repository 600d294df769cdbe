"""Networks to fp32 TFLite files in warm workers, and what happens when that goes wrong."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils
from torch import nn

import models
from device_bench.tflite import read_graph
from pipeline import export
from pipeline.errors import ExportError
from pipeline.export import TfliteConverter
from pipeline.export.graph import to_onnx, to_torchscript
from pipeline.export.variant import ExportWorkers
from pipeline.export.worker import Worker
from tests.pipeline.export.test_variant import run_litert
from tests.small import OPTIONS

SHAPE = (3, 16, 16)


def tiny(seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.Flatten(), nn.Linear(128, 5)
        ).eval()


def test_files_compute_what_the_networks_did_when_they_were_submitted(tmp_path: Path) -> None:
    image = torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(1))
    networks = [tiny(seed) for seed in range(5)]
    with torch.no_grad():
        expected = [network(image).numpy() for network in networks]
    with TfliteConverter(workers=2) as converter:
        jobs = []
        for index, network in enumerate(networks):
            jobs.append(converter.submit(network, SHAPE, tmp_path / f"{index}.tflite"))
            nn.init.zeros_(network[0].weight)
        files = [job.result() for job in jobs]
    assert sorted(tmp_path.iterdir()) == files
    for file, logits in zip(files, expected, strict=True):
        outputs = run_litert(file, np.ascontiguousarray(image.permute(0, 2, 3, 1).numpy()))
        assert np.abs(outputs - logits).max() <= 1e-6 * np.abs(logits).max()


@pytest.mark.parametrize("name", models.names())
def test_every_shipped_network_becomes_one_delegated_piece(name: str, workers: ExportWorkers, tmp_path: Path) -> None:
    network = models.load(name, num_classes=7, options=OPTIONS[name], seed=0).eval()
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):  # statistics of a trained network are not 0 and 1
            module.running_mean.uniform_(-0.2, 0.2, generator=generator)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 1.5, generator=generator)  # type: ignore[union-attr]
    images = torch.randn(4, 3, 64, 64, generator=generator)
    with torch.no_grad():
        expected = network(images).numpy()
    path = tmp_path / "network.tflite"
    content = workers.tflite.call("tflite conversion", "tflite:convert", model=to_onnx(network, (3, 64, 64)))
    path.write_bytes(content)
    nhwc = np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy())
    logits = workers.tflite.call("running", "tflite:run", path=str(path), images=nhwc)
    assert np.abs(logits - expected).max() <= 1e-4 * np.abs(expected).max()
    assert workers.tflite.call("loading", "tflite:delegation", path=str(path)) is None
    half = tmp_path / "half.tflite"
    half.write_bytes(workers.tflite.call("fp16 conversion", "tflite:to_fp16", model=content))
    assert half.stat().st_size < 0.55 * path.stat().st_size
    assert workers.tflite.call("loading", "tflite:delegation", path=str(half)) is None
    logits = workers.tflite.call("running", "tflite:run", path=str(half), images=nhwc)
    assert np.abs(logits - expected).max() <= 0.01 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("before", "pieces"), [(nn.ReLU(), 1), (nn.ReLU6(), 1), (nn.Sigmoid(), 1), (nn.Tanh(), 2)], ids=str
)
def test_padded_pools_give_what_torch_gives(
    before: nn.Module, pieces: int, workers: ExportWorkers, tmp_path: Path
) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(3, 8, 1), before, nn.MaxPool2d(3, 2, 1), nn.Flatten(), nn.Linear(512, 5)
        ).eval()
        network[0].bias.data -= 2.0  # many values are below zero before the activation
        images = torch.randn(20, *SHAPE)
    with torch.no_grad():
        expected = network(images).numpy()
    call = workers.tflite.call
    fp32 = call("tflite conversion", "tflite:convert", model=to_onnx(network, SHAPE))
    nhwc = np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy())
    for content, error in ((fp32, 1e-6), (call("int8 conversion", "tflite:to_int8", model=fp32, images=nhwc), 0.1)):
        path = tmp_path / f"{error}.tflite"
        path.write_bytes(content)
        logits = call("running", "tflite:run", path=str(path), images=nhwc)
        assert np.abs(logits - expected).max() <= error * np.abs(expected).max()
        reason = call("loading", "tflite:delegation", path=str(path))
        assert (reason is None) if pieces == 1 else ("partially delegated" in reason)


class Preactivated(nn.Module):
    """Batch norm before the convolutions, of a sum that is used twice, and of a vector."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.first = nn.Conv2d(8, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.last = nn.BatchNorm1d(8)
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = x + self.first(x.relu())
        x = x + self.second(self.norm(x).relu())
        return self.head(self.last(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1)))


@pytest.mark.parametrize("trained", [True, False])  # torch's exporter writes the equal constants of a fresh one once
def test_a_batch_norm_that_stands_alone_becomes_one_operation(
    trained: bool, workers: ExportWorkers, tmp_path: Path
) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Preactivated().eval()
        for norm in (network.norm, network.last) if trained else ():
            for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
                tensor.data.uniform_(0.5, 1.5)
        images = torch.randn(4, *SHAPE)
    with torch.no_grad():
        expected = network(images).numpy()
    path = tmp_path / "network.tflite"
    content = workers.tflite.call("tflite conversion", "tflite:convert", model=to_onnx(network, SHAPE))
    path.write_bytes(content)
    nhwc = np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy())
    logits = workers.tflite.call("running", "tflite:run", path=str(path), images=nhwc)
    assert np.abs(logits - expected).max() <= 1e-5 * np.abs(expected).max()
    assert [layer.name for layer in read_graph(path).layers] == ["stem", "first", "norm", "second", "head"]
    codes = flatbuffer_utils.read_model_from_bytearray(bytearray(content)).operatorCodes
    assert schema.BuiltinOperator.TRANSPOSE not in {code.builtinCode for code in codes}


def test_conversion_needs_neither_torch_nor_tensorflow(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(to_onnx(tiny(0), SHAPE))
    code = (
        "import sys\n"
        "sys.modules['torch'] = sys.modules['tensorflow'] = None\n"
        "from pathlib import Path\n"
        "from pipeline.export.tflite import convert, to_fp16, to_int8\n"
        "import numpy as np\n"
        "model = convert(Path('model.onnx').read_bytes())\n"
        "to_int8(to_fp16(model) and model, np.zeros((2, 16, 16, 3), np.float32))\n"
        "Path('model.tflite').write_bytes(model)\n"
    )
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", code]
    result = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(root)}, capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
    assert run_litert(tmp_path / "model.tflite", np.zeros((1, 16, 16, 3), np.float32)).shape == (1, 5)


class Unexportable(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.fft.fft(x).abs().mean((2, 3))


class Unconvertible(nn.Module):
    """ONNX has a determinant of any size, the converter only of 2x2 and 3x3."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.linalg.det(x)


def test_a_failure_names_its_stage(tmp_path: Path, workers: ExportWorkers, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.tflite"
    with TfliteConverter() as converter:
        with pytest.raises(ExportError, match=r"^onnx export failed: .*fft"):
            converter.convert(Unexportable(), SHAPE, path)
        with pytest.raises(ExportError, match=r"(?s)^tflite conversion failed: .*Det"):
            converter.convert(Unconvertible(), SHAPE, path)
        assert not list(tmp_path.iterdir())
        assert converter.convert(tiny(0), SHAPE, path).exists()  # the worker lives on
    assert capsys.readouterr().out == ""
    with pytest.raises(ExportError, match=r"^torch tracing failed"):
        to_torchscript(nn.Linear(4, 4), SHAPE)
    with pytest.raises(ExportError, match=r"(?s)^core ml conversion failed: .*det"):
        workers.coreml.call(
            "core ml conversion",
            "coreml:convert",
            network=to_torchscript(Unconvertible(), SHAPE),
            input_shape=SHAPE,
        )


def test_a_worker_that_hangs_or_dies_is_an_error_and_the_next_call_starts_another() -> None:
    with (
        Worker(timeout_s=0.01) as worker,
        pytest.raises(ExportError, match=r"^onnx check failed: no answer after 0.01 s"),
    ):
        worker.call("onnx check", "graph:run_onnx", model=b"", images=np.zeros((1, *SHAPE), np.float32))
    with Worker() as worker:
        worker.start()
        worker.kill()
        logits = worker.call(
            "onnx check", "graph:run_onnx", model=to_onnx(tiny(0), SHAPE), images=np.zeros((3, *SHAPE), np.float32)
        )
        assert logits.shape == (3, 5)


def test_a_process_that_aborts_leaves_its_last_words() -> None:
    with Worker() as worker:
        worker.start()
        assert worker._process is not None
        worker._process.send_signal(signal.SIGSTOP)  # so that it dies while it is waited for
        worker._log.write_text("first\nLLVM ERROR: inconsistency in registered CommandLine options\n")
        threading.Timer(0.1, worker.kill).start()
        with pytest.raises(ExportError, match=r"(?s)failed: its process ended \(exit status -9\).*LLVM ERROR"):
            worker.call("core ml conversion", "coreml:package", precision="fp16")


def test_a_worker_ends_and_tidies_up_when_its_caller_is_killed(tmp_path: Path) -> None:
    code = (
        "import os, signal\n"
        "from pipeline.export.worker import Worker\n"
        "worker = Worker()\n"
        "worker.start()\n"
        "print(worker._process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {"PYTHONPATH": str(Path(__file__).parents[3]), "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", code]
    caller = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    worker = int(caller.stdout)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and (_runs(worker) or any(tmp_path.iterdir())):
        time.sleep(0.05)
    assert not _runs(worker)
    assert not any(tmp_path.iterdir())


def test_what_a_converter_leaves_in_the_temporary_folder_goes_with_its_worker() -> None:
    with Worker() as worker:
        worker.start()
        assert worker._process is not None
        folder = Path(psutil.Process(worker._process.pid).environ()["TMPDIR"])
        (folder / "tmpabc.mlpackage").mkdir()
    assert not folder.exists()


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_formats_are_listed_with_their_precisions() -> None:
    assert export.names() == (
        "tflite: fp32, fp16, int8, dynamic, fp32-sparse",
        "coreml: fp16, int8, palette6, fp16-sparse",
    )
