from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.arrays import RESIZE, ArraySplit
from pipeline.data.augment import pad_crop_flip, random_affine, unchanged
from pipeline.data.splits import batch_slices, images_sha256, stratified_order
from pipeline.records import Preprocessing, SplitName


def preprocessing(size: int) -> Preprocessing:
    return Preprocessing(image_size=size, channels=3, mean=(0.1, 0.2, 0.3), std=(0.5, 1.0, 2.0), resize=RESIZE)


@given(count=st.integers(0, 300), batch_size=st.integers(1, 70))
def test_slices_cover_everything_once_and_leave_no_image_alone(count: int, batch_size: int) -> None:
    slices = list(batch_slices(count, batch_size))
    assert [place for piece in slices for place in range(count)[piece]] == list(range(count))
    sizes = [piece.stop - piece.start for piece in slices]
    assert all(size <= batch_size + 1 for size in sizes)
    if batch_size > 1 and count > 1:
        assert min(sizes) > 1


@given(counts=st.lists(st.integers(1, 30), min_size=1, max_size=6), seed=st.integers(0, 99), data=st.data())
def test_every_piece_of_a_stratified_order_has_each_class_in_its_share(counts, seed, data) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    order = stratified_order(labels, np.random.default_rng(seed))
    assert sorted(order) == list(range(len(labels)))
    start = data.draw(st.integers(0, len(labels)))
    stop = data.draw(st.integers(start, len(labels)))
    found = np.bincount(labels[order[start:stop]], minlength=len(counts))
    expected = np.array(counts) * (stop - start) / len(labels)
    # Each class is evenly spread; rounding at both ends of all classes is what may be off.
    assert np.abs(found - expected).max() <= 2 + len(counts)


@given(
    n=st.integers(1, 9), height=st.integers(1, 40), width=st.integers(1, 40), size=st.integers(8, 48),
    batch_size=st.integers(1, 10), limit=st.none() | st.integers(0, 12),
)  # fmt: skip
def test_any_array_becomes_inputs_of_the_asked_size(n, height, width, size, batch_size, limit) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(256, size=(n, height, width, 3), dtype=np.uint8)
    split = ArraySplit("train", images, np.arange(n), preprocessing(size), unchanged)
    batches = list(split.batches(batch_size, limit=limit))
    expected = n if limit is None else min(n, limit)
    assert sum(len(labels) for _, labels in batches) == expected
    assert all(inputs.shape[1:] == (3, size, size) for inputs, _ in batches)
    if (height, width) == (size, size):
        assert np.array_equal(split.images().permute(0, 2, 3, 1).numpy(), images)


def test_normalisation_is_that_of_the_record() -> None:
    images = np.full((2, 8, 8, 3), 51, np.uint8)  # 0.2 of 255
    split = ArraySplit("test", images, np.zeros(2, np.int64), preprocessing(8), unchanged)
    ((inputs, _),) = split.batches(2)
    torch.testing.assert_close(inputs[0, :, 3, 3], torch.tensor([0.2, 0.0, -0.05]))


def test_affine_without_reach_changes_nothing_and_keeps_the_mean_otherwise() -> None:
    pixels = torch.rand(5, 3, 16, 16) * 255
    rng = np.random.default_rng(0)
    torch.testing.assert_close(random_affine(0, 0, 0)(pixels, rng), pixels, atol=0.05, rtol=0)
    flat = torch.full((5, 3, 16, 16), 77.0)
    torch.testing.assert_close(random_affine(20, 0.2, 0.2)(flat, rng), flat)  # edges are repeated, never black


def test_affine_moves_each_image_by_at_most_its_reach() -> None:
    pixels = torch.zeros(200, 1, 32, 32)
    pixels[:, :, 14:18, 14:18] = 255
    moved = random_affine(0, 0, shift=0.1)(pixels, np.random.default_rng(0))
    axis = torch.arange(32.0)
    centres = (moved.sum(2) * axis).sum(-1).flatten() / moved.sum((1, 2, 3))
    offsets = centres - 15.5
    assert offsets.abs().max() <= 3.2 + 0.1
    assert offsets.std() > 1.5


def test_pad_crop_flip_only_moves_whole_pixels() -> None:
    pixels = torch.arange(32.0).repeat(300, 3, 32, 1)
    varied = pad_crop_flip(4 / 32)(pixels, np.random.default_rng(0))
    steps = varied[:, 0, 0, 10:22].diff(dim=1)
    mirrored = steps[:, 0] < 0
    assert torch.equal(steps.abs(), torch.ones_like(steps))
    assert 100 < mirrored.sum() < 200
    offsets = varied[~mirrored, 0, 0, 16] - 16
    assert set(offsets.tolist()) == set(range(-4, 5))


def test_the_hash_of_images_stands_for_images_labels_and_order() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (300, 8, 8, 3)).astype(np.uint8)
    labels = np.arange(300) % 7

    def hashed(images: np.ndarray, labels: np.ndarray, name: SplitName = "test", size: int = 8) -> str:
        return images_sha256(ArraySplit(name, images, labels.astype(np.int64), preprocessing(size), unchanged))

    known = hashed(pixels, labels)
    assert known == hashed(pixels.copy(), labels.copy())
    others = [
        hashed(pixels, labels, "validation"),
        hashed(pixels, labels, size=16),
        hashed(pixels[::-1].copy(), labels),
        hashed(pixels, labels[::-1]),
        hashed(255 - pixels, labels),
        hashed(pixels[:-1], labels[:-1]),
    ]
    assert len({known, *others}) == 1 + len(others)
