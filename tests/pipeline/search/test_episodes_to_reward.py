"""How many plans an agent must have evaluated: ours against AMC, on a real network, under one reward.

The network is trained, rebuilt, recalibrated and judged as in every search, only smaller, since AMC has it done 400
times; the cost is multiply-accumulates, which are counted, so that nothing here depends on the machine.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from torch import nn

from pipeline.config import Config, validate_config
from pipeline.progress import Silent
from pipeline.run_folder import RunFolder
from pipeline.search import agents
from pipeline.search.env import PruneEnv
from pipeline.search.episodes import EpisodeLog
from pipeline.search.recovery import Recovery
from pipeline.search.task import cost_source, keep_grid, make_task, uniform_at
from pipeline.stages import baseline
from pipeline.subject import Subject

AMC_EPISODES = 400
OUR_EPISODES = 55


def build(num_classes: int) -> nn.Module:
    """Six convolutions, each of which is a group."""
    layers: list[nn.Module] = []
    inputs = 3
    for width, stride in ((16, 2), (16, 1), (32, 2), (32, 1), (64, 2), (64, 1)):
        layers += [nn.Conv2d(inputs, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        inputs = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, num_classes))


def config(seed: int, **search: Any) -> Config:
    """Digits, to be told apart with 30% of the multiply-accumulates."""
    values = {
        "name": "episodes to reward",
        "seed": seed,
        "model": {"name": f"{__file__}:build"},
        "data": {"name": "digits", "image_size": 16},
        "baseline": {"epochs": 4},
        "pruning": {"round_to": 4},
        "search": {
            "target": {"macs": 0.3},
            "reward": {"name": "macs", "dense": False},  # equation 3, paid at the end of an episode
            "recover": {"kind": "batchnorm", "images": 64},
            "judge_images": 32,
            **search,
        },
    }
    return validate_config(values)


def train(seed: int, folder: Path) -> Path:
    """The weights of the dense network."""
    folder.mkdir()
    baseline.run(config(seed), RunFolder(folder), folder, Silent())
    return folder / "model.safetensors"


def rewards(agent: str, episodes: int, seed: int, weights: Path, folder: Path) -> list[float]:
    """What each of the agent's plans was paid, the greedy one included."""
    folder.mkdir()
    subject = Subject(config(seed, agent=agent, episodes=episodes - 1), weights)
    source, grid = cost_source(subject, [], []), keep_grid(subject, [])
    share, _ = uniform_at(source, grid, subject.config)
    log = EpisodeLog(folder / "episodes.jsonl")
    env = PruneEnv(make_task(subject, source, grid, share, Recovery(subject)), log, seed)
    agents.find(agent)(env, subject.config.search, seed, folder)
    assert len(log.episodes) <= episodes
    return [episode.steps[-1].reward for episode in log.episodes]


@pytest.mark.slow
def test_ours_reaches_in_55_episodes_what_amc_reaches_in_400(tmp_path: Path) -> None:
    weights = train(0, tmp_path / "dense")
    ours = rewards("tradeoff", OUR_EPISODES, 0, weights, tmp_path / "ours")
    amc = rewards("amc", AMC_EPISODES, 0, weights, tmp_path / "amc")
    assert max(ours) >= max(amc), (
        f"ours reached {max(ours):.4f} in {OUR_EPISODES}, AMC {max(amc):.4f} in {AMC_EPISODES}"
    )
