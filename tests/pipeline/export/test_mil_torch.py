"""ML Programs evaluated in torch. They run in the worker, since coremltools must not see tensorflow."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from pipeline.export.graph import to_torchscript
from pipeline.export.variant import ExportWorkers

SHAPE = (3, 17, 14)


class Network(nn.Module):
    def __init__(self, body: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.body = body
        torch.manual_seed(0)
        self.layer = nn.Conv2d(3, 8, 3, padding=(1, 2), bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(self.layer(x)).reshape(1, -1)


BODIES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "max_pool": lambda x: functional.max_pool2d(x, 3, 2, 1),
    "avg_pool": lambda x: functional.avg_pool2d(x, 3, 2, 1),
    "avg_pool without padding": lambda x: functional.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
    "concat": lambda x: torch.cat([x, x * 2, functional.relu6(x)], 1),
    "pad": lambda x: functional.pad(x, (1, 0, 2, 1), value=0.5),
    "reflect": lambda x: functional.pad(x, (1, 2, 0, 1), mode="reflect"),
    "hard swish": functional.hardswish,
    "hard sigmoid": functional.hardsigmoid,
    "gelu": functional.gelu,
    "silu, tanh": lambda x: functional.silu(x) - torch.tanh(x),
    "leaky": lambda x: functional.leaky_relu(x, 0.1),
    "softmax": lambda x: torch.softmax(x, 1),
    "transpose, matmul": lambda x: torch.matmul(x.flatten(2), x.flatten(2).transpose(1, 2)),
    "reductions": lambda x: x.amax((2, 3)) + x.sum((2, 3)) / 100 + x.mean((2, 3)),
    "squeeze": lambda x: (x.mean((2, 3), keepdim=True).squeeze(3).unsqueeze(1) + 1).squeeze(),
    "minimum, maximum": lambda x: torch.maximum(torch.minimum(x, x.mean((2, 3), keepdim=True)), x * 0.5),
    "batch norm": lambda x: functional.batch_norm(x * x, torch.full((8,), 0.3), torch.full((8,), 0.2)),
}


@pytest.mark.parametrize("name", BODIES)
def test_operations_give_what_torch_gives(name: str, workers: ExportWorkers) -> None:
    with torch.random.fork_rng(devices=[]):
        network = Network(BODIES[name]).eval()
    images = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(0))
    call = workers.coreml.call
    call("convert", "coreml:convert", network=to_torchscript(network, SHAPE), input_shape=SHAPE)
    path = call("package", "coreml:package", precision="fp16")
    logits, reason = call("run", "coreml:run", path=path, images=images.numpy())
    assert reason is None
    with torch.no_grad():
        expected = torch.cat([network(image[None]).reshape(1, -1) for image in images])
    assert logits.shape == expected.shape
    error = np.abs(logits - expected.numpy()).max() / expected.abs().max().item()
    assert error < 5e-3  # float16 between operations


def test_torch_and_coremltools_convert_where_tensorflow_is_installed(workers: ExportWorkers) -> None:
    """Unprotected, a process that loads all three aborts on Linux ("LLVM ERROR: inconsistency in registered ...")."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.LazyLinear(2))
    network(torch.zeros(1, *SHAPE))
    network.eval()
    workers.coreml.call("convert", "coreml:convert", network=to_torchscript(network, SHAPE), input_shape=SHAPE)
    path = workers.coreml.call("package", "coreml:package", precision="fp16")
    logits, _ = workers.coreml.call("run", "coreml:run", path=path, images=np.zeros((2, *SHAPE), np.float32))
    assert logits.shape == (2, 2)
    log = workers.coreml._log.read_text(errors="replace")
    assert "LLVM ERROR" not in log
