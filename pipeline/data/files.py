"""A split whose images are decoded from files when they are asked for, a bounded number of them at a time."""

from __future__ import annotations

import copy
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from pipeline.data.splits import Batch, batch_slices, normalise
from pipeline.errors import DataError
from pipeline.records import Preprocessing, SplitName

CROP_SHARE = 224 / 256
"""Side of the centre square as a share of the shorter side, as is usual for ImageNet."""
RESIZE = "centre square of 224/256 of the shorter side, to image_size x image_size (bilinear with antialiasing)"
_AHEAD = 2
"""Batches that are decoded ahead of the one in use."""

Pixels = NDArray[np.uint8]


class FileSplit:
    """Image files with labels; augmentation is a random resized crop, mirrored half the time."""

    def __init__(
        self, name: SplitName, paths: list[Path], labels: NDArray[np.int64], preprocessing: Preprocessing
    ) -> None:
        self.name = name
        self.labels = labels
        self.difficulty = None
        self._paths = paths
        self._preprocessing = preprocessing

    def __len__(self) -> int:
        return len(self._paths)

    def images(self, indices: NDArray[np.int64] | None = None) -> torch.Tensor:
        chosen = np.arange(len(self)) if indices is None else indices
        size = self._preprocessing.image_size
        pixels = np.empty((len(chosen), size, size, 3), np.uint8)
        with ThreadPoolExecutor(_threads()) as pool:
            decoded = pool.map(lambda index: decode(self._paths[index], size), chosen)
            for row, image in enumerate(decoded):
                pixels[row] = image
        return torch.from_numpy(pixels).permute(0, 3, 1, 2)

    def batches(
        self, batch_size: int, *, shuffle_seed: int | None = None, augment: bool = False, limit: int | None = None
    ) -> Iterator[Batch]:
        seed = 0 if shuffle_seed is None else shuffle_seed
        order = np.arange(len(self)) if shuffle_seed is None else np.random.default_rng(seed).permutation(len(self))
        order = order[:limit]
        size = self._preprocessing.image_size

        def load(place: int) -> Pixels:
            path = self._paths[order[place]]
            # A stream per place: the result does not depend on which thread comes first.
            return decode_augmented(path, size, np.random.default_rng((seed, place))) if augment else decode(path, size)

        with ThreadPoolExecutor(_threads()) as pool:
            waiting: deque[tuple[slice, list[Future[Pixels]]]] = deque()
            try:
                for piece in batch_slices(len(order), batch_size):
                    waiting.append((piece, [pool.submit(load, place) for place in range(len(order))[piece]]))
                    if len(waiting) > _AHEAD:
                        yield self._batch(order, *waiting.popleft())
                while waiting:
                    yield self._batch(order, *waiting.popleft())
            finally:  # the reader stopped early, or a file is damaged
                pool.shutdown(wait=False, cancel_futures=True)

    def subset(self, indices: NDArray[np.int64]) -> FileSplit:
        view = copy.copy(self)
        view.labels = self.labels[indices]
        view._paths = [self._paths[index] for index in indices]
        return view

    def _batch(self, order: NDArray[np.int64], piece: slice, decoded: list[Future[Pixels]]) -> Batch:
        pixels = torch.from_numpy(np.stack([future.result() for future in decoded])).permute(0, 3, 1, 2)
        return normalise(pixels, self._preprocessing), torch.from_numpy(self.labels[order[piece]])


def decode(path: Path, size: int) -> Pixels:
    """(size, size, 3): the centre square.

    Raises:
        DataError: the file is not an image that can be decoded.
    """
    image = _open(path)
    side = CROP_SHARE * min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    return _resized(image, (left, top, left + side, top + side), size)


def decode_augmented(path: Path, size: int, rng: np.random.Generator) -> Pixels:
    """(size, size, 3): a random piece of 8 to 100% of the area and 3:4 to 4:3 in shape (Szegedy et al. 2015)."""
    image = _open(path)
    area = image.width * image.height * rng.uniform(0.08, 1.0)
    ratio = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
    width = min(image.width, max(1.0, np.sqrt(area * ratio)))
    height = min(image.height, max(1.0, np.sqrt(area / ratio)))
    left, top = rng.uniform(0, image.width - width), rng.uniform(0, image.height - height)
    piece = _resized(image, (left, top, left + width, top + height), size)
    return piece[:, ::-1] if rng.random() < 0.5 else piece


def _resized(image: Image.Image, box: tuple[float, float, float, float], size: int) -> Pixels:
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box=box))


def _open(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            if image.mode.startswith(("I", "F")):
                raise ValueError(f"it has {image.mode} pixels, not 8 bits per channel")
            if image.mode == "P" and "transparency" in image.info:
                return image.convert("RGBA").convert("RGB")
            return image.convert("RGB")
    # What Pillow raises: OSError (also for an unknown format), SyntaxError and ValueError (broken headers),
    # DecompressionBombError (absurdly many pixels).
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: cannot be decoded as an image ({error}); repair or delete it") from error


def _threads() -> int:
    return min(8, os.cpu_count() or 1)
