"""What every data set promises, tried on each of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.data import load_data, names
from pipeline.data.splits import DataSet, Split, take
from tests.pipeline.data.samples import digits_and_friends


@pytest.fixture(scope="module")
def sections(tmp_path_factory: pytest.TempPathFactory):
    return digits_and_friends(tmp_path_factory.mktemp("sets"))


@pytest.fixture(params=names())
def loaded(request: pytest.FixtureRequest, sections, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> DataSet:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert request.param in sections, f"{request.param} is new: add a small section to samples.digits_and_friends"
    return load_data(sections[request.param], seed=3)


def splits(data: DataSet) -> tuple[Split, Split, Split]:
    return data.train, data.validation, data.test


def test_shapes_types_and_names(loaded: DataSet, sections) -> None:
    size = sections[loaded.name].image_size
    assert loaded.preprocessing.image_size == size
    assert loaded.preprocessing.channels == len(loaded.preprocessing.mean) == len(loaded.preprocessing.std) == 3
    assert [split.name for split in splits(loaded)] == ["train", "validation", "test"]
    for split in splits(loaded):
        images = split.images()
        assert images.dtype == torch.uint8
        assert tuple(images.shape) == (len(split), 3, size, size)
        assert split.labels.dtype == np.int64
        assert split.labels.shape == (len(split),)
        assert 0 <= split.labels.min() <= split.labels.max() < len(loaded.classes)
        assert split.difficulty is None or split.difficulty.shape == (len(split),)


def test_no_image_is_in_two_splits_or_twice_in_one(loaded: DataSet) -> None:
    seen = [image.numpy().tobytes() for split in splits(loaded) for image in split.images()]
    assert len(set(seen)) == len(seen)


def test_same_seed_same_data_other_seed_other_split(loaded: DataSet, sections) -> None:
    again = load_data(sections[loaded.name], seed=3)
    for one, two in zip(splits(loaded), splits(again), strict=True):
        assert torch.equal(one.images(), two.images())
        assert np.array_equal(one.labels, two.labels)
    other = load_data(sections[loaded.name], seed=4)
    assert not torch.equal(loaded.train.images(), other.train.images())


def test_batches_are_the_normalised_images_in_order(loaded: DataSet) -> None:
    mean = torch.tensor(loaded.preprocessing.mean).view(1, 3, 1, 1)
    std = torch.tensor(loaded.preprocessing.std).view(1, 3, 1, 1)
    for split in splits(loaded):
        inputs, labels = zip(*split.batches(5), strict=True)
        assert all(batch.is_contiguous(memory_format=torch.channels_last) for batch in inputs)
        assert torch.cat(inputs).dtype == torch.float32
        torch.testing.assert_close(torch.cat(inputs), (split.images().float() / 255 - mean) / std)
        assert np.array_equal(torch.cat(labels).numpy(), split.labels)


def test_a_shuffled_epoch_shows_every_image_once_in_an_order_of_its_seed(loaded: DataSet) -> None:
    def epoch(seed: int) -> torch.Tensor:
        return torch.cat([inputs for inputs, _ in loaded.train.batches(7, shuffle_seed=seed)])

    first, again, other = epoch(1), epoch(1), epoch(2)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    everything = torch.cat([inputs for inputs, _ in loaded.train.batches(7)])
    assert sorted(first.sum((1, 2, 3)).tolist()) == pytest.approx(sorted(everything.sum((1, 2, 3)).tolist()), rel=1e-4)


def test_augmentation_changes_images_but_not_labels_and_follows_its_seed(loaded: DataSet) -> None:
    def epoch(seed: int, augment: bool) -> tuple[torch.Tensor, torch.Tensor]:
        inputs, labels = zip(*loaded.train.batches(8, shuffle_seed=seed, augment=augment), strict=True)
        return torch.cat(inputs), torch.cat(labels)

    plain, labels = epoch(1, augment=False)
    varied, varied_labels = epoch(1, augment=True)
    assert varied.shape == plain.shape
    assert torch.equal(labels, varied_labels)
    assert torch.equal(varied, epoch(1, augment=True)[0])
    assert torch.isfinite(varied).all()
    if loaded.name != "imagefolder":  # a crop of one flat colour is that colour
        assert not torch.equal(varied, plain)


def test_a_subset_is_a_view_of_the_same_images(loaded: DataSet) -> None:
    some = take(loaded.train, 6, seed=5)
    assert len(some) == 6
    assert torch.equal(some.images(), take(loaded.train, 6, seed=5).images())
    wanted = np.array([4, 0, 2])
    part = loaded.train.subset(wanted).subset(np.array([2, 1]))
    assert torch.equal(part.images(), loaded.train.images(np.array([2, 0])))
    assert np.array_equal(part.labels, loaded.train.labels[[2, 0]])
    assert torch.equal(part.images(np.array([1])), loaded.train.images(np.array([0])))
    assert len(take(loaded.test, 10**6, seed=0)) == len(loaded.test)
