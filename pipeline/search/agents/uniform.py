"""Control: the same action for every group, each action once."""

from __future__ import annotations

from pathlib import Path

from pipeline.config import SearchSection, Section
from pipeline.search.env import PruneEnv


class Options(Section):
    """It has none."""


def search(env: PruneEnv, settings: SearchSection, seed: int, folder: Path) -> None:
    for action in range(min(env.task.n_actions, settings.episodes)):
        env.play([action] * len(env.task.groups), "explore")
