"""Letters and digits in matplotlib's fonts, in random pose, colour, noise and clutter: 62 classes, any size and count.

Capitals and small letters of one shape (c C, o O 0, s S, v V, w W, x X, z Z) differ by their size alone, which varies,
so that no network gets them all right. Each split carries a `difficulty` per image.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import numpy as np
import psutil
from pydantic import Field

from pipeline.data.arrays import RESIZE, ArraySplit
from pipeline.data.augment import random_affine
from pipeline.data.cache import Arrays, cached
from pipeline.data.glyph_atlas import CHARACTERS, draw_atlas
from pipeline.data.glyph_drawing import BLOCK, draw_block
from pipeline.data.splits import DataSet
from pipeline.errors import DataError
from pipeline.records import Preprocessing, SplitName
from pipeline.section import OpenShare, Section

GENERATOR_VERSION = 1
"""Raise it with every change that changes a picture: it is part of the cache's key."""
MEAN, STD = 0.5, 0.33
_STREAMS: dict[SplitName, int] = {"train": 0, "validation": 1, "test": 2}

Count = Annotated[int, Field(ge=1, le=10_000_000)]


class Options(Section):
    train: Count = 12_000
    validation: Count = 2_000
    test: Count = 4_000
    level: OpenShare = 0.5
    """How hard the images are on the whole."""


def load(image_size: int, seed: int, root: str | None, options: Options) -> DataSet:
    if root is not None:
        raise DataError(f"data.root: {root!r} is given, but glyphs are drawn here and no folder is read; remove it")
    counts: dict[SplitName, int] = {"train": options.train, "validation": options.validation, "test": options.test}
    total = sum(counts.values())
    needed, available = total * image_size**2 * 3, psutil.virtual_memory().available
    if needed > available:
        raise DataError(
            f"data.options: {total} glyphs of {image_size} pixels take {needed / 2**30:.1f} GiB of memory, "
            f"and {available / 2**30:.1f} GiB are free; ask for fewer or smaller images"
        )
    preprocessing = Preprocessing(image_size=image_size, channels=3, mean=(MEAN,) * 3, std=(STD,) * 3, resize=RESIZE)
    augmentation = random_affine(rotation_deg=8, scale=0.08, shift=0.06)
    splits = {}
    for name, count in counts.items():
        drawn = _split(name, count, image_size, seed, options.level)
        splits[name] = ArraySplit(
            name, drawn["images"], drawn["labels"], preprocessing, augmentation, drawn["difficulty"]
        )
    return DataSet("glyphs", tuple(CHARACTERS), **splits, preprocessing=preprocessing)


def _split(name: SplitName, count: int, image_size: int, seed: int, level: float) -> Arrays:
    # Fonts come with matplotlib and are drawn by Pillow: another version of either may draw other pixels.
    key = (
        f"glyphs-v{GENERATOR_VERSION}-matplotlib{version('matplotlib')}-pillow{version('pillow')}"
        f"-{image_size}px-level{level!r}-seed{seed}-{name}{count}"
    )
    shapes = {"images": (count, image_size, image_size, 3), "labels": (count,), "difficulty": (count,)}
    return cached(key, shapes, lambda: draw_images(name, count, image_size, seed, level))


def draw_images(name: SplitName, count: int, image_size: int, seed: int, level: float) -> Arrays:
    """The first `count` images of a split: uint8 (count, H, W, 3), with their labels and difficulties."""
    atlas = draw_atlas(cell=image_size)
    images = np.empty((count, image_size, image_size, 3), np.uint8)
    labels = np.empty(count, np.int64)
    difficulty = np.empty(count, np.float32)
    for start in range(0, count, BLOCK):
        block = draw_block(atlas, image_size, level, (seed, _STREAMS[name], start // BLOCK))
        piece = slice(start, min(start + BLOCK, count))
        drawn = piece.stop - start
        images[piece], labels[piece], difficulty[piece] = (
            block.images[:drawn],
            block.labels[:drawn],
            block.difficulty[:drawn],
        )
    return {"images": images, "labels": labels, "difficulty": difficulty}
