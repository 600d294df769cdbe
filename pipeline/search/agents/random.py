"""Control: every action is drawn at random."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.config import SearchSection, Section
from pipeline.search.env import PruneEnv


class Options(Section):
    """It has none."""


def search(env: PruneEnv, settings: SearchSection, seed: int, folder: Path) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(settings.episodes):
        env.play(rng.integers(env.task.n_actions, size=len(env.task.groups)).tolist(), "explore")
