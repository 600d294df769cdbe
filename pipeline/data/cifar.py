"""Reads CIFAR's official files: the binary version, or the Python version without trusting its pickles.

Formats: https://www.cs.toronto.edu/~kriz/cifar.html
"""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.arrays import RESIZE, ArraySplit
from pipeline.data.augment import pad_crop_flip
from pipeline.data.cache import cache_dir
from pipeline.data.splits import DataSet, stratified_order
from pipeline.errors import DataError
from pipeline.records import Preprocessing

PAGE = "https://www.cs.toronto.edu/~kriz/cifar.html"
_PIXELS = 3 * 32 * 32

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Layout:
    """Where one of the two data sets keeps what; train and test files carry no ending in the Python version."""

    name: str
    archive_stem: str
    binary_folder: str
    python_folder: str
    train_files: tuple[str, ...]
    test_file: str
    label_bytes: int
    """Labels before each image's pixels in the binary version; the last of them is the class."""
    labels_key: bytes
    names_file: str
    names_key: bytes
    binary_names_file: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def load(layout: Layout, image_size: int, seed: int, root: str | None, validation: int) -> DataSet:
    """All of the official test files as test split; validation is carved out of the training files by seed."""
    folder, is_binary = _find(layout, root)
    classes = _class_names(layout, folder, is_binary)
    parts = [_read(layout, folder, is_binary, name) for name in layout.train_files]
    images, labels = np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
    test_images, test_labels = _read(layout, folder, is_binary, layout.test_file)
    for found in (labels, test_labels):
        if len(found) == 0 or found.min() < 0 or found.max() >= len(classes):
            raise DataError(f"{folder}: labels do not fit the {len(classes)} classes; {_remedy(layout)}")
    if validation >= len(labels):
        raise DataError(f"data.options.validation: {validation} must be less than the {len(labels)} training images")
    order = stratified_order(labels, np.random.default_rng(seed))
    held_out, kept = order[:validation], order[validation:]
    preprocessing = Preprocessing(
        image_size=image_size, channels=3, mean=layout.mean, std=layout.std, resize=RESIZE + " (from 32 x 32)"
    )
    augmentation = pad_crop_flip(shift=4 / 32)
    # The official test files come in random order already.
    return DataSet(
        layout.name,
        classes,
        train=ArraySplit("train", images[kept], labels[kept], preprocessing, augmentation),
        validation=ArraySplit("validation", images[held_out], labels[held_out], preprocessing, augmentation),
        test=ArraySplit("test", test_images, test_labels, preprocessing, augmentation),
        preprocessing=preprocessing,
    )


def _find(layout: Layout, root: str | None) -> tuple[Path, bool]:
    """The folder that holds the files, and whether they are the binary version."""
    roots = [Path(root).expanduser()] if root is not None else [Path("data"), cache_dir() / "data"]
    for base in roots:
        for folder in (base, base / layout.binary_folder):
            if (folder / f"{layout.test_file}.bin").is_file():
                return folder, True
        for folder in (base, base / layout.python_folder):
            if (folder / layout.test_file).is_file():
                return folder, False
    looked = " and ".join(str(base.absolute()) for base in roots)
    raise DataError(f"{layout.name}: no files of it in {looked}; {_remedy(layout)}")


def _remedy(layout: Layout) -> str:
    archive = layout.archive_stem
    return (
        f"download {archive}-binary.tar.gz or {archive}-python.tar.gz from {PAGE}, unpack it, and name the folder "
        f"that holds {layout.binary_folder} or {layout.python_folder} as data.root"
    )


def _read(layout: Layout, folder: Path, is_binary: bool, name: str) -> tuple[Images, Labels]:
    if is_binary:
        return _read_binary(folder / f"{name}.bin", layout.label_bytes)
    return _read_pickle(folder / name, layout.labels_key)


def _class_names(layout: Layout, folder: Path, is_binary: bool) -> tuple[str, ...]:
    if is_binary:
        return tuple(_read_bytes(folder / layout.binary_names_file).decode("utf-8", "replace").split())
    path = folder / layout.names_file
    content = load_plain_pickle(path)
    names = content.get(layout.names_key) if isinstance(content, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, bytes) for name in names):
        raise DataError(f"{path}: lacks the list {layout.names_key.decode()}; unpack the official archive again")
    return tuple(name.decode("utf-8", "replace") for name in names)


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); unpack the official archive again") from error


def _read_binary(path: Path, label_bytes: int) -> tuple[Images, Labels]:
    record = label_bytes + _PIXELS
    content = _read_bytes(path)
    if not content or len(content) % record:
        raise DataError(
            f"{path}: {len(content)} bytes is not a whole number of images of {record} bytes; "
            "the file is damaged: unpack the official archive again"
        )
    rows = np.frombuffer(content, np.uint8).reshape(-1, record)
    return _last(rows[:, label_bytes:]), rows[:, label_bytes - 1].astype(np.int64)


def _read_pickle(path: Path, labels_key: bytes) -> tuple[Images, Labels]:
    content = load_plain_pickle(path)
    try:
        data, labels = np.asarray(content[b"data"]), np.asarray(content[labels_key])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: lacks data and {labels_key.decode()}; unpack the official archive again") from error
    fits = data.ndim == 2 and data.shape[1] == _PIXELS and data.dtype == np.uint8
    if not fits or labels.shape != (len(data),) or labels.dtype.kind not in "iu":
        raise DataError(
            f"{path}: holds {data.dtype} {data.shape} and labels {labels.dtype} {labels.shape}, not uint8 "
            f"(N, {_PIXELS}) and N integers; unpack the official archive again"
        )
    return _last(data), labels.astype(np.int64)


def _last(rows: Images) -> Images:
    """(N, 3 * 32 * 32), plane by plane -> (N, 32, 32, 3)"""
    return np.ascontiguousarray(rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))


_RECONSTRUCT = np.empty(0).__reduce__()[0]
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,  # as numpy 1 wrote it, and the official files have it
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


class _PlainUnpickler(pickle.Unpickler):
    """Builds numpy arrays and Python's own plain values; whatever else a pickle asks for is refused, never called."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return _ALLOWED[module, name]


def load_plain_pickle(path: Path) -> Any:
    """Load a pickle of arrays, numbers, strings, lists and dicts, written by Python 2 or 3.

    Raises:
        DataError: it cannot be read, is damaged, or asks for anything that could run code.
    """
    content = _read_bytes(path)
    try:
        return _PlainUnpickler(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # damaged pickles raise nearly anything
        raise DataError(
            f"{path}: is no plain pickle of arrays ({type(error).__name__}: {error}); unpack the official archive again"
        ) from error
