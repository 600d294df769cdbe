"""Control: every action is drawn at random."""

from __future__ import annotations

from pathlib import Path

from pipeline.search.env import PruneEnv
from pipeline.search_section import SearchSection
from pipeline.section import Section

ACTIONS = ("around_target", "absolute", "continuous", "bounded")
STATE = "simple"


class Options(Section):
    """It has none."""


def search(env: PruneEnv, settings: SearchSection, seed: int, folder: Path) -> None:
    env.action_space.seed(seed)
    for _ in range(settings.episodes):
        env.play([env.action_space.sample() for _ in env.task.sites], "explore")
