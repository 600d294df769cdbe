"""Characters in random fonts, poses and colours, with clutter and noise, drawn a block of images at a time.

An image depends on the seed, its split and its own number alone: blocks have random streams of their own and are always
drawn whole, so that neither the number of images asked for nor the number of threads changes a picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from pipeline.data.glyph_atlas import CAP_HEIGHT

BLOCK = 64
LINES = 3
MAX_ROTATION_DEG = 40.0
MAX_NOISE = 0.22
CAP_SHARES = (0.25, 0.62)
"""Height of a capital as a share of the image's side: the smallest and the largest."""
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Block:
    images: NDArray[np.uint8]
    """(BLOCK, side, side, 3)"""
    labels: NDArray[np.int64]
    difficulty: Floats


@dataclass(frozen=True)
class Scene:
    """What one block shows; each array has BLOCK rows. Lengths are shares of the side, colours 0..1."""

    fonts: NDArray[np.int64]
    labels: NDArray[np.int64]
    neighbours: NDArray[np.int64]
    """Class of a second character, cut off by the edge."""
    rotation_deg: Floats
    cap_share: Floats
    stretch: Floats
    shear: Floats
    centre: Floats  # (BLOCK, 2)
    neighbour_centre: Floats  # (BLOCK, 2)
    ink: Floats  # (BLOCK, 3)
    paper: Floats  # (BLOCK, 3)
    paper_slope: Floats  # (BLOCK, 2)
    neighbour_opacity: Floats
    line_normals: Floats  # (BLOCK, LINES, 2)
    line_offsets: Floats  # (BLOCK, LINES)
    line_colours: Floats  # (BLOCK, LINES, 3)
    line_opacity: Floats  # (BLOCK, LINES)
    noise: Floats

    def difficulty(self) -> Floats:
        """Mean of five terms from 0 (easy) to 1: little contrast, rotation, small size, noise, clutter."""
        contrast = np.sqrt(np.mean((self.ink - self.paper) ** 2, axis=1))
        smallest, largest = CAP_SHARES
        clutter = (self.neighbour_opacity + self.line_opacity.sum(axis=1)) / (1 + LINES)
        terms = (
            1 - contrast,
            np.abs(self.rotation_deg) / MAX_ROTATION_DEG,
            (largest - self.cap_share) / (largest - smallest),
            self.noise / MAX_NOISE,
            clutter,
        )
        difficulty: Floats = np.clip(np.mean(terms, axis=0), 0, 1).astype(np.float32)
        return difficulty


def draw_block(atlas: torch.Tensor, side: int, level: float, stream: tuple[int, ...]) -> Block:
    """Draw the block of images that belongs to this random stream.

    Args:
        atlas: of `draw_atlas`.
        level: how hard the images are on the whole, within 0..1.
        stream: what seeds the block: seed, split, number of the block.
    """
    rng = np.random.Generator(np.random.SFC64(stream))
    scene = draw_scene(rng, level, n_fonts=atlas.shape[0], n_characters=atlas.shape[1])
    return Block(_render(scene, atlas, side, rng), scene.labels, scene.difficulty())


def draw_scene(rng: np.random.Generator, level: float, n_fonts: int, n_characters: int) -> Scene:
    """Everything random about a block except the noise itself.

    Each image has a hardness of its own, uniform over 0..1 at level 0.5, that bounds its rotation, noise and so on:
    some images are easy in every respect and some hard, as photographs are.
    """
    hardness: Floats = rng.random(BLOCK, np.float32) ** np.float32((1 - level) / level)

    def amount() -> Floats:
        return hardness * rng.uniform(0.4, 1.0, BLOCK).astype(np.float32)

    def sometimes(chance: Floats, *shape: int) -> Floats:
        shown = rng.random((BLOCK, *shape)) < chance
        return np.where(shown, rng.uniform(0.4, 1.0, shown.shape), 0).astype(np.float32)

    def either_way(*shape: int) -> Floats:
        return rng.uniform(-1, 1, (BLOCK, *shape)).astype(np.float32)

    ink, paper = _colours(rng, gap=0.85 - 0.8 * amount())
    angle = np.pi * either_way(LINES)
    away = np.pi * either_way()
    distance = rng.uniform(0.45, 0.65, BLOCK).astype(np.float32)
    smallest, largest = CAP_SHARES
    return Scene(
        fonts=rng.integers(n_fonts, size=BLOCK),
        labels=rng.integers(n_characters, size=BLOCK),
        neighbours=rng.integers(n_characters, size=BLOCK),
        rotation_deg=MAX_ROTATION_DEG * amount() * np.sign(either_way()),
        cap_share=largest - (largest - smallest) * amount(),
        stretch=np.exp(0.25 * amount() * either_way()),
        shear=0.4 * amount() * either_way(),
        centre=(0.04 + 0.12 * amount()[:, None]) * either_way(2),
        neighbour_centre=distance[:, None] * np.stack([np.cos(away), np.sin(away)], axis=1),
        ink=ink,
        paper=paper,
        paper_slope=0.3 * amount()[:, None] * either_way(2),
        neighbour_opacity=sometimes(0.2 + hardness),
        line_normals=np.stack([np.cos(angle), np.sin(angle)], axis=-1),
        line_offsets=0.4 * either_way(LINES),
        line_colours=rng.random((BLOCK, LINES, 3), np.float32),
        line_opacity=sometimes(hardness[:, None], LINES),
        noise=0.01 + (MAX_NOISE - 0.01) * amount(),
    )


def _colours(rng: np.random.Generator, gap: Floats) -> tuple[Floats, Floats]:
    """Two colours per image whose luminance differs by about `gap`, either of them the lighter one."""
    middle = gap / 2 + (1 - gap) * rng.random(len(gap), np.float32)
    half = gap / 2 * rng.choice(np.array([-1, 1], np.float32), len(gap))
    both = []
    for luminance in (middle + half, middle - half):
        tint = 0.15 * rng.standard_normal((len(gap), 3), np.float32)
        tint -= (tint @ _LUMA)[:, None]
        both.append(np.clip(luminance[:, None] + tint, 0, 1))
    return both[0], both[1]


def _render(scene: Scene, atlas: torch.Tensor, side: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Paper, then the neighbour, the character, the lines and the noise on it, planar for speed."""
    axis = (torch.arange(side) + 0.5) / side - 0.5
    across, down = axis[None, None, :], axis[None, :, None]
    slope = torch.from_numpy(scene.paper_slope)[:, :, None, None]
    shade = slope[:, 0] * across + slope[:, 1] * down  # (B, side, side)
    image = torch.from_numpy(scene.paper)[:, :, None, None] + shade[:, None]  # (B, 3, side, side)
    ink = torch.from_numpy(scene.ink)[:, :, None, None]
    opacity = torch.from_numpy(scene.neighbour_opacity)[:, None, None, None]
    image.lerp_(ink, _posed(scene, atlas, scene.neighbours, scene.neighbour_centre, side) * opacity)
    image.lerp_(ink, _posed(scene, atlas, scene.labels, scene.centre, side))
    normals, offsets = torch.from_numpy(scene.line_normals), torch.from_numpy(scene.line_offsets)
    width = max(0.015, 0.5 / side)
    for line in range(LINES):
        normal = normals[:, line, :, None, None]
        coverage = normal[:, 0] * across + normal[:, 1] * down
        coverage.sub_(offsets[:, line, None, None]).abs_().neg_().add_(width).mul_(side).clamp_(0, 1)
        coverage.mul_(torch.from_numpy(scene.line_opacity)[:, line, None, None])
        image.lerp_(torch.from_numpy(scene.line_colours)[:, line, :, None, None], coverage[:, None])
    noise = torch.from_numpy(rng.standard_normal((BLOCK, 3, side, side), np.float32))
    image.addcmul_(noise, torch.from_numpy(scene.noise)[:, None, None, None])
    pixels = image.mul_(255).round_().clamp_(0, 255).to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).contiguous().numpy()


def _posed(scene: Scene, atlas: torch.Tensor, characters: NDArray[np.int64], centre: Floats, side: int) -> torch.Tensor:
    """Coverage (BLOCK, 1, side, side) of the characters in the scene's fonts, turned, stretched and moved."""
    angle = np.deg2rad(scene.rotation_deg)
    cosine, sine = np.cos(angle), np.sin(angle)
    width = scene.cap_share / CAP_HEIGHT * scene.stretch
    height = scene.cap_share / CAP_HEIGHT / scene.stretch
    # From the image's coordinates back into the cell's: move, turn, shear, scale.
    back = np.empty((BLOCK, 2, 3), np.float32)
    back[:, 0, 0] = (cosine + scene.shear * sine) / width
    back[:, 0, 1] = (-sine + scene.shear * cosine) / width
    back[:, 1, 0] = sine / height
    back[:, 1, 1] = cosine / height
    back[:, :, 2] = -np.einsum("bij,bj->bi", back[:, :, :2], 2 * centre)
    cells = atlas[torch.from_numpy(scene.fonts), torch.from_numpy(characters)][:, None]
    grid = functional.affine_grid(torch.from_numpy(back), [BLOCK, 1, side, side], align_corners=False)
    return functional.grid_sample(cells, grid, align_corners=False)
