"""Photographs in folders, laid out like ImageNet: ROOT/train/CLASS/*.jpg and ROOT/val/CLASS/*.jpg.

Without ROOT/test, val is the test split and validation is carved out of train; with it, val is the validation split.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline.data.files import RESIZE, FileSplit
from pipeline.data.splits import IMAGENET_MEAN, IMAGENET_STD, DataSet, stratified_order
from pipeline.errors import DataError
from pipeline.records import Preprocessing
from pipeline.section import Section

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
_LAYOUT = "lay images out as ROOT/train/CLASS/*.jpg and ROOT/val/CLASS/*.jpg, optionally ROOT/test/CLASS/*.jpg"

Files = tuple[list[Path], NDArray[np.int64]]


class Options(Section):
    validation: Annotated[float, Field(gt=0.0)] = 0.1
    """What is carved out of train: a share of it if below 1, else a number of images."""


def load(image_size: int, seed: int, root: str | None, options: Options) -> DataSet:
    if root is None:
        raise DataError(f"data.root: imagefolder needs the folder of the images; {_LAYOUT}")
    base = Path(root).expanduser()
    if not base.is_dir():
        raise DataError(f"data.root: {base.absolute()} is not a folder; {_LAYOUT}")
    classes = _classes(base / "train")
    train, validation = _scan(base / "train", classes), _scan(base / "val", classes)
    if (base / "test").is_dir():
        test = _scan(base / "test", classes)
    else:
        test = validation
        train, validation = _carve(train, options.validation, seed)
    preprocessing = Preprocessing(
        image_size=image_size, channels=3, mean=IMAGENET_MEAN, std=IMAGENET_STD, resize=RESIZE
    )
    return DataSet(
        "imagefolder",
        classes,
        train=FileSplit("train", *_mixed(train, seed), preprocessing),
        validation=FileSplit("validation", *_mixed(validation, seed), preprocessing),
        test=FileSplit("test", *_mixed(test, seed), preprocessing),
        preprocessing=preprocessing,
    )


def _classes(folder: Path) -> tuple[str, ...]:
    classes = tuple(sorted(entry.name for entry in _entries(folder) if entry.is_dir()))
    if len(classes) < 2:
        found = f"only the class {classes[0]!r}" if classes else "no class folders"
        raise DataError(f"{folder}: holds {found}; at least two are needed: {_LAYOUT}")
    return classes


def _scan(folder: Path, classes: tuple[str, ...]) -> Files:
    """Every image of every class, in the order of their names."""
    present = {entry.name for entry in _entries(folder) if entry.is_dir()}
    for there, here, names in (
        ("train", folder.name, set(classes) - present),
        (folder.name, "train", present - set(classes)),
    ):
        if names:
            shown = ", ".join(sorted(names)[:5]) + (", ..." if len(names) > 5 else "")
            raise DataError(
                f"{folder}: {len(names)} classes are in {there} but not in {here} ({shown}); give both the same folders"
            )
    paths: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        files = [entry.path for entry in _entries(folder / name) if entry.name.lower().endswith(ENDINGS)]
        if not files:
            raise DataError(
                f"{folder / name}: holds no images ({', '.join(ENDINGS)}); "
                "put some there, or remove the class from train, val and test"
            )
        paths += map(Path, sorted(files))
        labels += [label] * len(files)
    return paths, np.array(labels, np.int64)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror}); {_LAYOUT}") from error


def _carve(train: Files, validation: float, seed: int) -> tuple[Files, Files]:
    paths, labels = train
    count = round(validation * len(paths)) if validation < 1 else round(validation)
    if not 1 <= count < len(paths):
        raise DataError(
            f"data.options.validation: {validation:g} makes {count} of the {len(paths)} training images; "
            f"at least 1 and fewer than all must be carved out"
        )
    order = stratified_order(labels, np.random.default_rng(seed))
    return _pick(train, np.sort(order[count:])), _pick(train, np.sort(order[:count]))


def _mixed(files: Files, seed: int) -> Files:
    """In random order, as every split is: its first n images are a fair sample."""
    return _pick(files, stratified_order(files[1], np.random.default_rng(seed)))


def _pick(files: Files, rows: NDArray[np.int64]) -> Files:
    return [files[0][row] for row in rows], files[1][rows]
