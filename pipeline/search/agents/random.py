"""Control: every action is drawn at random."""

from __future__ import annotations

from pathlib import Path

from pipeline.config import SearchSection, Section
from pipeline.search.env import PruneEnv

ACTIONS = ("around_target", "absolute", "continuous", "bounded")
STATE = "simple"


class Options(Section):
    """It has none."""


def search(env: PruneEnv, settings: SearchSection, seed: int, folder: Path) -> None:
    env.action_space.seed(seed)
    for _ in range(settings.episodes):
        env.play([env.action_space.sample() for _ in env.task.sites], "explore")
