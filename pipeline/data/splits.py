"""What the other parts see of a data set: three disjoint splits of labelled images, and how pixels become inputs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.records import Preprocessing, SplitName

Batch = tuple[torch.Tensor, torch.Tensor]
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
HASHED_IMAGES = 256


class Split(Protocol):
    """One split, in an order that is random but fixed: its first n images are a fair sample."""

    @property
    def name(self) -> SplitName: ...

    @property
    def labels(self) -> NDArray[np.int64]:
        """(N,) class indices."""

    @property
    def difficulty(self) -> NDArray[np.float32] | None:
        """(N,) from 0 (easy) to 1 (hard), where the data set knows it."""

    def __len__(self) -> int: ...

    def images(self, indices: NDArray[np.int64] | None = None) -> torch.Tensor:
        """Pixels as uint8 (n, C, H, W), in the order of `indices`; every image if None."""

    def batches(
        self, batch_size: int, *, shuffle_seed: int | None = None, augment: bool = False, limit: int | None = None
    ) -> Iterator[Batch]:
        """Inputs as float32 (n, C, H, W) in channels_last and labels as int64 (n,), image by image once.

        Args:
            shuffle_seed: decides order and augmentation; None keeps the split's order.
            augment: vary each image at random, as suits this data set.
            limit: stop after this many images.
        """

    def subset(self, indices: NDArray[np.int64]) -> Split:
        """The same images without copying them, `indices` alone and in their order."""


@dataclass(frozen=True)
class DataSet:
    name: str
    classes: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    preprocessing: Preprocessing


def images_sha256(split: Split) -> str:
    """A hash that stands for a split's images and their order: every label, and the pixels of a spread of images."""
    digest = hashlib.sha256(f"{split.name} {len(split)}".encode())
    digest.update(split.labels.astype("<i8").tobytes())
    # Not of all: reading a large folder of files once more would take minutes.
    spread = np.unique(np.linspace(0, len(split) - 1, min(len(split), HASHED_IMAGES)).round().astype(np.int64))
    digest.update(split.images(spread).contiguous().numpy().tobytes())
    return digest.hexdigest()


def take(split: Split, n: int, seed: int) -> Split:
    """A random subset of at most n images, the same for the same seed."""
    order = np.random.default_rng(seed).permutation(len(split))[:n]
    return split.subset(order)


def normalise(pixels: torch.Tensor, preprocessing: Preprocessing) -> torch.Tensor:
    """Pixels 0..255 (n, C, H, W) as the network's float32 input, in channels_last."""
    mean = torch.tensor(preprocessing.mean).view(1, -1, 1, 1) * 255
    std = torch.tensor(preprocessing.std).view(1, -1, 1, 1) * 255
    return torch.sub(pixels, mean).div_(std).contiguous(memory_format=torch.channels_last)


def batch_slices(count: int, batch_size: int) -> Iterator[slice]:
    """Consecutive slices of `batch_size`; a lone last image joins the slice before (batch norm needs two)."""
    start = 0
    while start < count:
        stop = start + batch_size
        if stop >= count - 1 and batch_size > 1:
            stop = count
        yield slice(start, stop)
        start = stop


def stratified_order(labels: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """A random order of which every contiguous piece holds the classes in (nearly) their overall shares."""
    order = rng.permutation(len(labels))
    position = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels[order] == label)
        # Evenly spaced over 0..1, with one random offset per class so that classes interleave at random.
        position[members] = (np.arange(len(members)) + rng.random()) / len(members)
    return order[np.argsort(position, kind="stable")]
