"""Small data sets in each of the formats that are read."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline.config import DataSection
from pipeline.data.sets import cifar10, cifar100

CIFAR_LAYOUTS = {"cifar10": cifar10.LAYOUT, "cifar100": cifar100.LAYOUT}
CIFAR_PER_FILE = 40


class Python2Pickler(pickle._Pickler):  # type: ignore[name-defined, misc]
    """Writes strings as Python 2 did, in which CIFAR's official files were written."""

    def save_python2_string(self, text: bytes | str) -> None:
        data = text.encode() if isinstance(text, str) else text
        self.write(pickle.BINSTRING + struct.pack("<i", len(data)) + data)
        self.memoize(text)

    dispatch = {**pickle._Pickler.dispatch, bytes: save_python2_string, str: save_python2_string}  # type: ignore[attr-defined]  # noqa: RUF012


def write_python2_pickle(path: Path, content: Any) -> None:
    with path.open("wb") as file:
        Python2Pickler(file, protocol=2).dump(content)
    modern, ancient = b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"
    path.write_bytes(path.read_bytes().replace(modern, ancient))


def make_cifar(name: str, folder: Path, binary: bool) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The official folder with a few random images; gives the images (N, 3072) and labels of each file."""
    layout = CIFAR_LAYOUTS[name]
    classes = [f"class{number}" for number in range(10 if name == "cifar10" else 100)]
    folder = folder / (layout.binary_folder if binary else layout.python_folder)
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    written = {}
    for file in (*layout.train_files, layout.test_file):
        pixels = rng.integers(256, size=(CIFAR_PER_FILE, 3072), dtype=np.uint8)
        labels = rng.integers(len(classes), size=CIFAR_PER_FILE)
        written[file] = (pixels, labels)
        if binary:
            head = np.zeros((CIFAR_PER_FILE, layout.label_bytes), np.uint8)
            head[:, -1] = labels
            (folder / f"{file}.bin").write_bytes(np.hstack([head, pixels]).tobytes())
        else:
            write_python2_pickle(folder / file, {"data": pixels, layout.labels_key.decode(): labels.tolist()})
    if binary:
        (folder / layout.binary_names_file).write_text("\n".join(classes) + "\n\n")
    else:
        write_python2_pickle(folder / layout.names_file, {layout.names_key.decode(): classes})
    return written


def make_image_folder(root: Path, counts: dict[str, dict[str, int]], side: tuple[int, int] = (40, 30)) -> Path:
    """PNG files; every image has a colour of its own."""
    number = 0
    for split, classes in counts.items():
        for name, count in classes.items():
            (root / split / name).mkdir(parents=True)
            for index in range(count):
                colour = (number % 7 * 30, number // 7 % 7 * 30, number // 49 * 30)
                Image.new("RGB", side, colour).save(root / split / name / f"{index}.png")
                number += 1
    return root


def digits_and_friends(tmp_path: Path) -> dict[str, DataSection]:
    """A section for every registered data set, small where that can be chosen."""
    make_cifar("cifar10", tmp_path, binary=True)
    make_cifar("cifar100", tmp_path, binary=False)
    photos = make_image_folder(tmp_path / "photos", {"train": {"a": 9, "b": 7}, "val": {"a": 3, "b": 4}})
    return {
        "digits": DataSection(name="digits", image_size=16),
        "glyphs": DataSection(
            name="glyphs", image_size=16, options={"train": 150, "validation": 40, "test": 70, "level": 0.3}
        ),
        "cifar10": DataSection(name="cifar10", image_size=16, root=str(tmp_path), options={"validation": 30}),
        "cifar100": DataSection(name="cifar100", image_size=40, root=str(tmp_path), options={"validation": 10}),
        "imagefolder": DataSection(name="imagefolder", image_size=16, root=str(photos), options={"validation": 4}),
    }
