"""Random variations of a whole batch at once, for splits that are held in memory."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional

Augmentation = Callable[[torch.Tensor, np.random.Generator], torch.Tensor]
"""Takes pixels as float32 (n, C, H, W) and gives as many of the same size."""


def unchanged(pixels: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    return pixels


def random_affine(rotation_deg: float, scale: float, shift: float) -> Augmentation:
    """Rotation, zoom and shift, each uniform within +- its argument (shift as a share of the side); no mirroring."""

    def apply(pixels: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        n = len(pixels)
        angle = np.deg2rad(rng.uniform(-rotation_deg, rotation_deg, n))
        zoom = 1 + rng.uniform(-scale, scale, n)
        offset = rng.uniform(-2 * shift, 2 * shift, (n, 2))  # affine_grid's coordinates span -1..1
        theta = np.empty((n, 2, 3), np.float32)
        theta[:, 0, 0] = theta[:, 1, 1] = np.cos(angle) / zoom
        theta[:, 1, 0] = np.sin(angle) / zoom
        theta[:, 0, 1] = -theta[:, 1, 0]
        theta[:, :, 2] = offset
        grid = functional.affine_grid(torch.from_numpy(theta), list(pixels.shape), align_corners=False)
        return functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)

    return apply


def pad_crop_flip(shift: float) -> Augmentation:
    """Mirrored half the time, and moved by whole pixels up to `shift` (a share of the side); edges repeat."""

    def apply(pixels: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        n, _, height, width = pixels.shape
        rows = _moved(height, n, shift, rng)
        columns = _moved(width, n, shift, rng)
        flipped = rng.random(n) < 0.5
        columns[flipped] = columns[flipped, ::-1]
        picture = torch.arange(n)[:, None, None]
        last = pixels.permute(0, 2, 3, 1)[
            picture, torch.from_numpy(rows)[:, :, None], torch.from_numpy(columns)[:, None]
        ]
        return last.permute(0, 3, 1, 2)

    return apply


def _moved(
    side: int, n: int, shift: float, rng: np.random.Generator
) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    reach = round(side * shift)
    offset = rng.integers(-reach, reach, (n, 1), endpoint=True)
    return np.clip(np.arange(side)[None] + offset, 0, side - 1)
