"""scikit-learn's handwritten digits: 1,797 grey images of 8 x 8 pixels, ten classes; they ship with the package."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from sklearn.datasets import load_digits

from pipeline.data.arrays import RESIZE, ArraySplit
from pipeline.data.augment import random_affine
from pipeline.data.splits import DataSet, stratified_order
from pipeline.errors import DataError
from pipeline.records import Preprocessing, SplitName
from pipeline.section import Section

SIZES: Mapping[SplitName, int] = {"train": 1100, "validation": 300, "test": 397}
MEAN, STD = 0.305, 0.325
"""Of all pixels at 64 x 64."""


class Options(Section):
    pass


def load(image_size: int, seed: int, root: str | None, options: Options) -> DataSet:
    if root is not None:
        raise DataError(
            f"data.root: {root!r} is given, but digits ships with scikit-learn and reads no folder; remove it"
        )
    bunch = load_digits()
    grey = np.rint(bunch.images * (255 / 16)).astype(np.uint8)  # scikit-learn's pixels are 0..16
    images = np.repeat(grey[..., None], 3, axis=3)
    labels = bunch.target.astype(np.int64)
    preprocessing = Preprocessing(image_size=image_size, channels=3, mean=(MEAN,) * 3, std=(STD,) * 3, resize=RESIZE)
    augmentation = random_affine(rotation_deg=10, scale=0.1, shift=0.06)
    order = stratified_order(labels, np.random.default_rng(seed))
    splits = {}
    for name, size in SIZES.items():
        rows, order = order[:size], order[size:]
        splits[name] = ArraySplit(name, images[rows], labels[rows], preprocessing, augmentation)
    return DataSet("digits", tuple("0123456789"), **splits, preprocessing=preprocessing)
