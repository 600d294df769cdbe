"""The user's own data set: a callable that gives a `DataSet`, or a plain dict of arrays that is checked and wrapped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from models.callables import resolve
from pipeline.config import DataSection
from pipeline.data.arrays import RESIZE, ArraySplit
from pipeline.data.augment import random_affine
from pipeline.data.splits import IMAGENET_MEAN, IMAGENET_STD, DataSet, Split, stratified_order
from pipeline.errors import DataError, PipelineError
from pipeline.records import Preprocessing, SplitName

SPLITS: tuple[SplitName, ...] = get_args(SplitName)
_FORM = '{"train": (images, labels), "validation": (images, labels), "test": (images, labels), "classes": [names]}'


def load_custom(section: DataSection, seed: int) -> DataSet:
    """Call the user's function with image_size, seed, root and the options, and check what it gives.

    Raises:
        DataError: it gave something else than a `DataSet` or a dict of arrays, or these break a rule.
        models.errors.CallableError: the name does not lead to a callable.
    """
    function = resolve(section.name, "data set")
    try:
        given = function(image_size=section.image_size, seed=seed, root=section.root, **section.options)
    except PipelineError:
        raise
    except Exception as error:  # the user's code may raise anything
        raise DataError(
            f"data.name: {section.name} raised {type(error).__name__}: {error}; it gets image_size, seed, root "
            f"and the keys of data.options ({', '.join(section.options) or 'none'})"
        ) from error
    if isinstance(given, Mapping):
        return _wrap(section, seed, given)
    if not isinstance(given, DataSet):
        raise DataError(
            f"data.name: {section.name} gave {type(given).__name__}; give a pipeline.data.splits.DataSet, or {_FORM}"
        )
    for split in (given.train, given.validation, given.test):
        _check_split(section.name, given, split, section.image_size)
    return given


def _check_split(source: str, data_set: DataSet, split: Split, image_size: int) -> None:
    where = f"{source}: {split.name}"
    _check_labels(where, split.labels, len(split), len(data_set.classes))
    shape = tuple(split.images(np.array([0])).shape)
    expected = (1, data_set.preprocessing.channels, image_size, image_size)
    if shape != expected:
        raise DataError(f"{where}: images([0]) has the shape {shape}; data.image_size asks for {expected}")


def _wrap(section: DataSection, seed: int, given: Mapping[str, Any]) -> DataSet:
    if missing := [key for key in (*SPLITS, "classes") if key not in given]:
        raise DataError(f"{section.name}: the dict lacks {', '.join(missing)}; give {_FORM}")
    if unknown := set(given) - {*SPLITS, "classes", "mean", "std"}:
        raise DataError(f"{section.name}: the dict has an unknown key {min(unknown)!r}; give {_FORM}, and mean and std")
    classes = given["classes"]
    if (
        not isinstance(classes, list | tuple)
        or len({str(name) for name in classes}) != len(classes)
        or len(classes) < 2
    ):
        raise DataError(f"{section.name}: classes is {classes!r}; give a list of two or more different names")
    classes = tuple(str(name) for name in classes)
    preprocessing = Preprocessing(
        image_size=section.image_size,
        channels=3,
        mean=_three(section.name, "mean", given.get("mean", IMAGENET_MEAN)),
        std=_three(section.name, "std", given.get("std", IMAGENET_STD)),
        resize=RESIZE,
    )
    augmentation = random_affine(rotation_deg=10, scale=0.1, shift=0.06)
    splits = {}
    for name in SPLITS:
        images, labels = _arrays(f"{section.name}: {name}", given[name], len(classes))
        order = stratified_order(labels, np.random.default_rng(seed))  # users' arrays are often sorted by class
        splits[name] = ArraySplit(name, images, labels, preprocessing, augmentation).subset(order)
    return DataSet(section.name, classes, **splits, preprocessing=preprocessing)


def _arrays(where: str, pair: Any, n_classes: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise DataError(f"{where}: holds {type(pair).__name__}; give a pair (images, labels)")
    try:
        images, labels = np.asarray(pair[0]), np.asarray(pair[1])
    except ValueError as error:  # lists of unequal lengths
        raise DataError(f"{where}: cannot be made into arrays ({error}); give images of one size") from error
    if images.dtype != np.uint8:
        raise DataError(f"{where}: images are {images.dtype}; give uint8 pixels from 0 to 255")
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim == 4 and images.shape[3] not in (1, 3) and images.shape[1] in (1, 3):
        images = images.transpose(0, 2, 3, 1)
    if images.ndim != 4 or images.shape[3] not in (1, 3) or 0 in images.shape:
        raise DataError(
            f"{where}: images have the shape {np.shape(pair[0])}; "
            "give (N, H, W, 3), (N, 3, H, W), or (N, H, W) for grey ones, with N at least 1"
        )
    _check_labels(where, labels, len(images), n_classes)
    if images.shape[3] == 1:
        images = np.repeat(images, 3, axis=3)
    return images, labels.astype(np.int64)


def _check_labels(where: str, labels: NDArray[Any], n_images: int, n_classes: int) -> None:
    if n_images == 0:
        raise DataError(f"{where}: has no images; give at least one")
    if labels.shape != (n_images,):
        raise DataError(f"{where}: labels have the shape {labels.shape}; give one label for each of {n_images} images")
    if labels.dtype.kind not in "iu":
        raise DataError(f"{where}: labels are {labels.dtype}; give integers from 0 to {n_classes - 1}")
    if labels.min() < 0 or labels.max() >= n_classes:
        raise DataError(
            f"{where}: labels reach from {labels.min()} to {labels.max()}; "
            f"with {n_classes} classes they must lie within 0 to {n_classes - 1}"
        )


def _three(where: str, key: str, values: Any) -> tuple[float, float, float]:
    try:
        red, green, blue = (float(value) for value in values)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: {key} is {values!r}; give three numbers, on the scale of pixels / 255") from error
    if key == "std" and not min(red, green, blue) > 0:
        raise DataError(f"{where}: std is {values!r}; each must be greater than 0")
    return red, green, blue
