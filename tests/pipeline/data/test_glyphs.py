from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.config import DataSection
from pipeline.data import load_data
from pipeline.data.glyph_atlas import CHARACTERS, FONTS, draw_atlas
from pipeline.data.glyph_drawing import BLOCK, draw_scene
from pipeline.data.sets import glyphs

SMALL = DataSection(name="glyphs", image_size=24, options={"train": 100, "validation": 20, "test": 30})


def test_the_atlas_holds_every_character_in_every_font_uncut_and_no_two_alike() -> None:
    atlas = draw_atlas(cell=64)
    assert atlas.shape == (len(FONTS), 62, 64, 64)
    ink = atlas.sum((2, 3))
    assert (ink > 20).all()
    border = torch.cat([atlas[..., 0, :], atlas[..., -1, :], atlas[..., :, 0], atlas[..., :, -1]], dim=-1)
    assert border.max() < 0.5, [
        (FONTS[font], CHARACTERS[column]) for font, column in (border.amax(-1) >= 0.5).nonzero().tolist()
    ]
    for font in atlas:
        assert len({glyph.numpy().tobytes() for glyph in font}) == 62


@pytest.mark.parametrize("threads", [1, 3])
def test_an_image_depends_on_seed_split_and_number_alone(threads: int) -> None:
    reference = glyphs.draw_images("train", 2 * BLOCK + 9, 16, seed=5, level=0.5)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        few = glyphs.draw_images("train", BLOCK + 3, 16, seed=5, level=0.5)
    finally:
        torch.set_num_threads(before)
    for name, array in few.items():
        assert np.array_equal(array, reference[name][: BLOCK + 3])


def test_splits_and_seeds_have_streams_of_their_own() -> None:
    drawn = [
        glyphs.draw_images(split, 50, 16, seed=seed, level=0.5)["images"]
        for split in ("train", "validation", "test")
        for seed in (0, 1)
    ]
    seen = {image.tobytes() for images in drawn for image in images}
    assert len(seen) == 6 * 50


def scenes(level: float, blocks: int = 20):
    for number in range(blocks):
        yield draw_scene(np.random.default_rng(number), level, n_fonts=21, n_characters=62)


def test_difficulty_lies_in_0_to_1_and_follows_each_of_its_causes() -> None:
    drawn = list(scenes(level=0.5))
    difficulty = np.concatenate([scene.difficulty() for scene in drawn])
    assert difficulty.min() >= 0
    assert difficulty.max() <= 1
    assert difficulty.max() - difficulty.min() > 0.5
    causes = {
        "contrast": -np.concatenate([np.abs(scene.ink - scene.paper).mean(axis=1) for scene in drawn]),
        "rotation": np.concatenate([np.abs(scene.rotation_deg) for scene in drawn]),
        "size": -np.concatenate([scene.cap_share for scene in drawn]),
        "noise": np.concatenate([scene.noise for scene in drawn]),
        "clutter": np.concatenate([scene.line_opacity.sum(axis=1) for scene in drawn]),
    }
    for cause, values in causes.items():
        assert np.corrcoef(difficulty, values)[0, 1] > 0.4, cause


def test_hard_images_have_less_signal_in_their_pixels() -> None:
    """Seen from the picture, not from what it was drawn with: noise between neighbouring pixels."""
    drawn = glyphs.draw_images("test", 400, 32, seed=0, level=0.5)
    pixels = drawn["images"].astype(np.float64)
    roughness = np.abs(np.diff(pixels, axis=2)).mean(axis=(1, 2, 3))
    assert np.corrcoef(drawn["difficulty"], roughness)[0, 1] > 0.5


def test_the_level_makes_all_images_harder() -> None:
    means = [np.mean([scene.difficulty().mean() for scene in scenes(level)]) for level in (0.1, 0.5, 0.9)]
    assert means[0] + 0.1 < means[1] < means[2] - 0.1


def test_the_cache_is_read_rebuilt_when_damaged_and_not_needed(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_data(SMALL, seed=0).train.images()
    files = sorted(own_cache.iterdir())
    assert len(files) == 3
    assert all(file.suffix == ".npz" for file in files)

    with monkeypatch.context() as patch:
        patch.setattr(glyphs, "draw_images", lambda *_: pytest.fail("drawn again although it is stored"))
        assert torch.equal(load_data(SMALL, seed=0).train.images(), first)

    whole = {file: file.read_bytes() for file in files}
    for damage in (lambda data: data[: len(data) // 2], lambda data: b"", lambda data: _flip(data, len(data) // 2)):
        for file in files:
            file.write_bytes(damage(whole[file]))
        assert torch.equal(load_data(SMALL, seed=0).train.images(), first)
        assert {file: len(file.read_bytes()) for file in files} == {file: len(data) for file, data in whole.items()}

    # A file where the folder should be: nothing can be stored, not even by root.
    monkeypatch.setenv("XDG_CACHE_HOME", str(files[0]))
    assert torch.equal(load_data(SMALL, seed=0).train.images(), first)


def _flip(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 255]) + data[place + 1 :]


def test_the_cache_defaults_to_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    load_data(SMALL, seed=0)
    assert len(os.listdir(tmp_path / ".cache" / "pocketprune")) == 3
