"""A small network that classifies a small data set well, and everything that is exported of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from pipeline.config import ExportSection
from pipeline.data.arrays import ArraySplit
from pipeline.data.augment import unchanged
from pipeline.data.splits import DataSet
from pipeline.export.variant import ExportWorkers, export_variant
from pipeline.records import Artifact, Preprocessing, SplitName

SIDE = 32


@pytest.fixture(scope="session")
def digits() -> DataSet:
    source = load_digits()
    pixels = np.repeat((source.images * 15.9375).astype(np.uint8)[..., None], 3, axis=3)  # (N, 8, 8, 3)
    order = np.random.default_rng(0).permutation(len(pixels))
    preprocessing = Preprocessing(image_size=SIDE, channels=3, mean=(0.5,) * 3, std=(0.5,) * 3, resize="bilinear")

    def split(name: SplitName, start: int, stop: int) -> ArraySplit:
        rows = order[start:stop]
        return ArraySplit(name, pixels[rows], source.target[rows].astype(np.int64), preprocessing, unchanged)

    classes = tuple(str(i) for i in range(10))
    return DataSet(
        "digits",
        classes,
        split("train", 0, 900),
        split("validation", 900, 1100),
        split("test", 1100, 1300),
        preprocessing,
    )


class SmallNetwork(nn.Module):
    """A little of everything that phones' networks are made of: batch norms, depthwise, a sum, a pool."""

    def __init__(self) -> None:
        super().__init__()

        def layer(c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Module:
            conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False)
            return nn.Sequential(conv, nn.BatchNorm2d(c_out), nn.ReLU6())

        self.stem = layer(3, 24, 3, stride=2)
        self.block = nn.Sequential(layer(24, 48, 1), layer(48, 48, 3, groups=48), nn.Conv2d(48, 24, 1))
        self.end = nn.Sequential(layer(24, 32, 3, stride=2), nn.MaxPool2d(3, 2, 1), nn.Flatten())
        self.classifier = nn.Linear(512, 10)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        result: torch.Tensor = self.end(x + self.block(x))
        return result

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.classifier(self.features(x))
        return result


@pytest.fixture(scope="session")
def network(digits: DataSet) -> nn.Module:
    """Random features, and a classifier that is fitted to them in closed form (ridge regression)."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        network = SmallNetwork()
        ((images, labels),) = digits.train.batches(900)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None  # the mean over what it sees, here one pass
        network(images)
        network.eval()
        features = network.features(images).double()
        features = torch.cat([features, torch.ones(len(features), 1)], 1)
        targets = nn.functional.one_hot(labels, 10).double() - 0.1
        gram = features.T @ features + 10.0 * torch.eye(features.shape[1], dtype=torch.float64)
        solution = torch.linalg.solve(gram, features.T @ targets)  # (513, 10)
        network.classifier.weight.copy_(solution[:-1].T)
        network.classifier.bias.copy_(solution[-1])
    return network


@pytest.fixture(scope="session")
def workers() -> Iterator[ExportWorkers]:
    with ExportWorkers() as workers:
        yield workers


@dataclass(frozen=True)
class Exported:
    folder: Path
    artifacts: dict[str, Artifact]
    """By the name of their file, the variant left out."""
    progress: list[str]


@pytest.fixture(scope="session")
def exported(
    network: nn.Module, digits: DataSet, workers: ExportWorkers, tmp_path_factory: pytest.TempPathFactory
) -> Exported:
    folder = tmp_path_factory.mktemp("run") / "export.partial"
    folder.mkdir()
    progress: list[str] = []
    settings = ExportSection(tflite=("fp32", "fp16", "int8", "dynamic"), coreml=("fp16", "int8", "palette6"))
    artifacts = export_variant(
        network,
        variant="dense",
        data=digits,
        settings=settings,
        folder=folder,
        on_progress=progress.append,
        workers=workers,
    )
    return Exported(folder, {artifact.path.removeprefix("export/dense-"): artifact for artifact in artifacts}, progress)
