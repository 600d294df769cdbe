"""Control: the same action for every site: each of the choices once, or as many shares as there are episodes."""

from __future__ import annotations

from pathlib import Path

import gymnasium as gym

from pipeline.search.env import PruneEnv
from pipeline.search_section import SearchSection
from pipeline.section import Section

ACTIONS = ("around_target", "absolute", "continuous")
STATE = "simple"


class Options(Section):
    """It has none."""


def search(env: PruneEnv, settings: SearchSection, seed: int, folder: Path) -> None:
    space, episodes = env.action_space, settings.episodes
    if isinstance(space, gym.spaces.Discrete):
        actions: list[float] = [float(action) for action in range(min(int(space.n), episodes))]
    else:
        actions = [(episode + 1) / episodes for episode in range(episodes)]
    for action in actions:
        env.play([action] * len(env.task.sites), "explore")
