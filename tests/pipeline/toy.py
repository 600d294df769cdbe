"""A small problem that a small network learns in a second: which third of the picture is bright."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from pipeline.data.arrays import ArraySplit
from pipeline.data.augment import unchanged
from pipeline.data.splits import DataSet
from pipeline.records import Preprocessing, SplitName

CLASSES = ("left", "middle", "right")
SIDE = 12


def toy_data(n_train: int = 90, noise: float = 60.0) -> DataSet:
    preprocessing = Preprocessing(image_size=SIDE, channels=3, mean=(0.5,) * 3, std=(0.25,) * 3, resize="none")
    rng = np.random.default_rng(0)

    def split(name: SplitName, n: int) -> ArraySplit:
        labels = np.arange(n) % len(CLASSES)
        bright = np.arange(SIDE)[None] // (SIDE // len(CLASSES)) == labels[:, None]  # (N, W)
        pixels = 100.0 + 60.0 * bright[:, None, :, None] + rng.normal(0, noise, (n, SIDE, SIDE, 3))
        return ArraySplit(name, pixels.clip(0, 255).astype(np.uint8), labels, preprocessing, unchanged)

    return DataSet("toy", CLASSES, split("train", n_train), split("validation", 30), split("test", 60), preprocessing)


def toy_network(seed: int = 0, dropout: float = 0.1) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, stride=2, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(72, len(CLASSES)),
        )


def state_equal(first: nn.Module, second: nn.Module) -> bool:
    states = first.state_dict(), second.state_dict()
    return states[0].keys() == states[1].keys() and all(
        torch.equal(states[0][key], states[1][key]) for key in states[0]
    )


def toy(num_classes: int) -> nn.Module:
    """The network by name, as a plan asks for it."""
    assert num_classes == len(CLASSES)
    return toy_network()
