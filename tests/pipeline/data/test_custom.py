from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.config import DataSection
from pipeline.data import load_data
from pipeline.errors import DataError

HEAD = """
import numpy as np

def pair(n=10, shape=(9, 7, 3), dtype=np.uint8, k=2):
    pixels = np.random.default_rng(0).integers(256, size=(n, *shape)).astype(dtype)
    return pixels, np.arange(n) % k

def good(**changes):
    whole = {"train": pair(), "validation": pair(4), "test": pair(6), "classes": ["no", "yes"]}
    return {**whole, **changes}

"""


def load(tmp_path: Path, body: str, **section: Any):
    path = tmp_path / "mine.py"
    path.write_text(HEAD + body)
    return load_data(DataSection(name=f"{path}:build", **{"image_size": 12, **section}), seed=3)


@pytest.mark.parametrize("shape", [(9, 7, 3), (3, 9, 7), (9, 7), (9, 7, 1), (1, 9, 7)])
def test_arrays_of_any_usual_layout_become_splits(shape: tuple[int, ...], tmp_path: Path) -> None:
    data = load(tmp_path, f"def build(**_):\n    p = lambda n: pair(n, {shape})\n"
                "    return good(train=p(10), validation=p(4), test=p(6))")  # fmt: skip
    assert data.classes == ("no", "yes")
    assert data.train.images().shape == (10, 3, 12, 12)
    assert (len(data.validation), len(data.test)) == (4, 6)
    if len(shape) == 2 or 1 in shape:
        assert torch.equal(data.train.images()[:, 0], data.train.images()[:, 2])


def test_labels_stay_with_their_images_though_the_order_is_mixed(tmp_path: Path) -> None:
    body = """
def build(image_size, seed, root, n):
    labels = np.repeat([0, 1], n)
    images = np.where(labels[:, None, None, None], 255, 0).astype(np.uint8) * np.ones((1, 4, 4, 3), np.uint8)
    assert (image_size, seed, root) == (12, 3, "here")
    return good(train=(images, labels), mean=[0, 0, 0], std=[1, 1, 1])
"""
    data = load(tmp_path, body, root="here", options={"n": 50})
    assert np.array_equal(data.train.images()[:, 0, 0, 0].numpy() == 255, data.train.labels == 1)
    assert 10 <= data.train.labels[:40].sum() <= 30
    ((inputs, labels),) = data.train.batches(100)
    assert torch.equal(inputs[:, 0, 0, 0], labels.float())


def test_a_ready_data_set_is_passed_through(tmp_path: Path) -> None:
    body = """
from pipeline.config import DataSection
from pipeline.data import load_data

def build(image_size, seed, root):
    return load_data(DataSection(name="digits", image_size=image_size + SIZE), seed)
"""
    assert load(tmp_path, "SIZE = 0\n" + body).name == "digits"
    (tmp_path / "other").mkdir()
    with pytest.raises(DataError, match=r"\(1, 3, 13, 13\); data.image_size asks for \(1, 3, 12, 12\)"):
        load(tmp_path / "other", "SIZE = 1\n" + body)


FAULTS = {
    "return 7": "gave int; give a pipeline.data.splits.DataSet, or",
    "return {}": "lacks train, validation, test, classes",
    "return good(extra=1)": "unknown key 'extra'",
    "return good(classes=['a'])": "two or more different names",
    "return good(classes=['a', 'a'])": "two or more different names",
    "return good(classes='ab')": "classes is 'ab'",
    "return good(classes=2)": "classes is 2",
    "return good(train=3)": r"train: holds int; give a pair",
    "return good(train=pair(dtype=float))": "images are float64; give uint8",
    "return good(test=pair(0))": r"test: images have the shape \(0, 9, 7, 3\)",
    "return good(test=pair(5, (9, 7, 4)))": r"shape \(5, 9, 7, 4\); give \(N, H, W, 3\)",
    "return good(train=(pair()[0], [0, 1]))": r"labels have the shape \(2,\); give one label for each of 10",
    "return good(train=(pair()[0], [0.5] * 10))": "labels are float64; give integers from 0 to 1",
    "return good(train=(pair()[0], [2] * 10))": "reach from 2 to 2; with 2 classes they must lie within 0 to 1",
    "return good(train=(pair()[0], [-1] * 10))": "reach from -1 to -1",
    "return good(train=([[[1]], [[1, 2]]], [0, 1]))": "cannot be made into arrays",
    "return good(mean=[1, 2])": r"mean is \[1, 2\]; give three numbers",
    "return good(mean='abc')": "mean is 'abc'",
    "return good(std=[1, 0, 1])": "each must be greater than 0",
    "raise OSError('no such disk')": "raised OSError: no such disk",
}


@pytest.mark.parametrize("body", FAULTS)
def test_what_cannot_be_used_is_explained(body: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=FAULTS[body]):
        load(tmp_path, f"def build(**_):\n    {body}\n")


def test_options_that_the_callable_does_not_take_are_explained(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"unexpected keyword argument 'sizes'.*data.options \(sizes\)"):
        load(tmp_path, "def build(image_size, seed, root):\n    return good()\n", options={"sizes": 3})


def test_an_error_of_ours_passes_unchanged(tmp_path: Path) -> None:
    body = "from pipeline.errors import DataError\ndef build(**_):\n    raise DataError('as I wrote it')\n"
    with pytest.raises(DataError, match=r"^as I wrote it$"):
        load(tmp_path, body)
