from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.config import DataSection
from pipeline.data import load_data
from pipeline.data.files import decode, decode_augmented
from pipeline.data.splits import DataSet
from pipeline.errors import DataError
from tests.pipeline.data.samples import make_image_folder

COUNTS = {"train": {"cat": 12, "dog": 8}, "val": {"cat": 3, "dog": 2}}


def load(root: Path, **options: float) -> DataSet:
    return load_data(DataSection(name="imagefolder", image_size=16, root=str(root), options=options), seed=0)


@pytest.mark.parametrize(("validation", "expected"), [(0.25, 5), (7, 7), (1, 1)])
def test_validation_is_carved_out_of_train_alone(validation: float, expected: int, tmp_path: Path) -> None:
    data = load(make_image_folder(tmp_path, COUNTS), validation=validation)
    assert data.classes == ("cat", "dog")
    assert (len(data.train), len(data.validation), len(data.test)) == (20 - expected, expected, 5)
    if expected == 5:
        assert np.bincount(data.validation.labels).tolist() == [3, 2]


def test_a_test_folder_makes_val_the_validation_split(tmp_path: Path) -> None:
    data = load(make_image_folder(tmp_path, {**COUNTS, "test": {"cat": 1, "dog": 3}}))
    assert (len(data.train), len(data.validation), len(data.test)) == (20, 5, 4)


def test_labels_belong_to_their_pictures(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for value, name in ((10, "dark"), (240, "light")):
            (tmp_path / split / name).mkdir(parents=True)
            for index in range(6):
                Image.new("L", (20 + index, 30), value + index).save(tmp_path / split / name / f"{index}.JPEG")
    data = load(tmp_path, validation=2)
    for part in (data.train, data.validation, data.test):
        assert np.array_equal(part.images().float().mean((1, 2, 3)).numpy() > 128, part.labels == 1)
        for inputs, labels in part.batches(3, shuffle_seed=1, augment=True):
            assert torch.equal(inputs.mean((1, 2, 3)) > 0, labels == 1)


def test_decoding_keeps_the_centre_square_undistorted(tmp_path: Path) -> None:
    pixels = np.zeros((64, 128, 3), np.uint8)
    pixels[:, 32:96] = (255, 0, 0)  # the centre square is red, the rest black
    pixels[24:40, 56:72] = (0, 0, 255)  # and in its middle is a blue one of a quarter of its side
    Image.fromarray(pixels).save(tmp_path / "a.png")
    image = decode(tmp_path / "a.png", 56)
    assert image.shape == (56, 56, 3)
    assert (image[:, :3, 0] == 255).all()
    blue = (image[..., 2] > 128).sum(axis=1).max(), (image[..., 2] > 128).sum(axis=0).max()
    assert blue == (16, 16)  # 16 of 64 * 224 / 256 = 56 pixels


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_every_8_bit_mode_becomes_rgb(mode: str, tmp_path: Path) -> None:
    ending = "tif" if mode == "CMYK" else "png"
    Image.new("RGB", (30, 20), (255, 255, 255)).convert(mode).save(tmp_path / f"a.{ending}")
    image = decode(tmp_path / f"a.{ending}", 8)
    assert image.shape == (8, 8, 3)
    assert (image > 250).all()


def test_a_palette_with_transparency_is_read_without_a_warning(tmp_path: Path) -> None:
    Image.new("P", (9, 9), 1).save(tmp_path / "a.png", transparency=bytes([0, 128, 255]))
    assert decode(tmp_path / "a.png", 8).shape == (8, 8, 3)


@pytest.mark.parametrize("side", [(1, 1), (1, 500), (700, 3), (8, 8)])
def test_odd_shapes_are_decoded(side: tuple[int, int], tmp_path: Path) -> None:
    Image.new("RGB", side, (9, 99, 199)).save(tmp_path / "a.png")
    for image in (decode(tmp_path / "a.png", 32), decode_augmented(tmp_path / "a.png", 32, np.random.default_rng(0))):
        assert image.shape == (32, 32, 3)
        assert (image == (9, 99, 199)).all()


def test_stopping_early_leaves_no_thread_behind(tmp_path: Path) -> None:
    import threading

    data = load(make_image_folder(tmp_path, COUNTS))
    before = threading.active_count()
    batches = data.train.batches(2)
    next(batches)
    batches.close()
    assert threading.active_count() == before


def bad_image(content: bytes):
    return lambda root: (root / "train" / "cat" / "0.png").write_bytes(content)


def wide_pixels(root: Path) -> None:
    Image.new("I;16", (9, 9), 40_000).save(root / "train" / "cat" / "0.png")


def cut(root: Path) -> None:
    path = root / "train" / "cat" / "0.png"
    Image.effect_noise((90, 90), 50).save(path)
    path.write_bytes(path.read_bytes()[:2000])


@pytest.mark.parametrize(
    "damage",
    [bad_image(b""), bad_image(b"not an image"), bad_image(b"\x89PNG\r\n\x1a\n" + b"\0" * 40), wide_pixels, cut],
)
def test_a_damaged_image_is_named(damage, tmp_path: Path) -> None:
    root = make_image_folder(tmp_path, COUNTS)
    damage(root)
    data = load(root, validation=1)
    both = [data.train, data.validation]
    for read in (
        lambda split: split.images(),
        lambda split: list(split.batches(4)),
        lambda split: list(split.batches(4, shuffle_seed=0, augment=True)),
    ):
        with pytest.raises(DataError, match=r"train/cat/0\.png: cannot be decoded as an image .*; repair or delete it"):
            [read(split) for split in both]


def empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


FAULTS = {
    "no train": (lambda root: shutil.rmtree(root / "train"), r"train: cannot be read \(No such file"),
    "no val": (lambda root: shutil.rmtree(root / "val"), r"val: cannot be read \(No such file"),
    "train empty": (lambda root: empty(root / "train"), r"train: holds no class folders; at least two"),
    "one class": (lambda root: shutil.rmtree(root / "train" / "cat"), r"only the class 'dog'"),
    "class without images": (
        lambda root: empty(root / "train" / "cat"),
        r"train/cat: holds no images .*remove the class",
    ),
    "class only in train": (lambda root: shutil.rmtree(root / "val" / "cat"), r"in train but not in val \(cat\)"),
    "class only in val": (lambda root: (root / "val" / "emu").mkdir(), r"in val but not in train \(emu\)"),
    "test differs": (lambda root: (root / "test" / "cat").mkdir(parents=True), r"in train but not in test \(dog\)"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_layout_is_explained(fault: str, tmp_path: Path) -> None:
    change, message = FAULTS[fault]
    root = make_image_folder(tmp_path, COUNTS)
    change(root)
    with pytest.raises(DataError, match=message):
        load(root)


@pytest.mark.parametrize("validation", [20, 21, 0.99, 0.001])
def test_carving_must_leave_something_on_both_sides(validation: float, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="of the 20 training images"):
        load(make_image_folder(tmp_path, COUNTS), validation=validation)
