"""A pruning task with a known best plan: groups whose channels matter more or less.

Accuracy and cost are formulas; the network is there for agents that look into one.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from pipeline.config import Config, PruningSection
from pipeline.pruning.groups import ChannelGroup
from pipeline.records import EnergyAnswer, Evaluation
from pipeline.search.actions import Actions, Choices, Shares
from pipeline.search.cost import CostAnswer
from pipeline.search.env import PruneEnv, PruningTask
from pipeline.search.episodes import EpisodeLog
from pipeline.search.pruner import ChannelPruner, Site
from pipeline.search.rewards import make_reward
from pipeline.search.sites import SiteFacts
from pipeline.search_section import RewardSection
from pipeline.subject import Subject
from tests.pipeline.toy import CLASSES, toy_data

CHANNELS = 16
CHOICES = (4, 8, 12, 16)
# How much accuracy a group's channels hold, and how much latency they cost: group b is nearly free to prune.
VALUE = {"a": 0.5, "b": 0.02, "c": 0.4}
COST = {"a": 0.1, "b": 0.8, "c": 0.1}

# Energy goes where latency does not: into group c.
ENERGY = {"a": 0.1, "b": 0.1, "c": 0.8}


def accuracy(counts: Mapping[str, int]) -> float:
    return 0.08 + sum(VALUE[name] * counts.get(name, CHANNELS) / CHANNELS for name in VALUE)


def ratio(counts: Mapping[str, int]) -> float:
    return sum(COST[name] * counts.get(name, CHANNELS) / CHANNELS for name in COST)


def energy_ratio(counts: Mapping[str, int]) -> float:
    return sum(ENERGY[name] * counts.get(name, CHANNELS) / CHANNELS for name in ENERGY)


def evaluation(top1: float) -> Evaluation:
    return Evaluation(split="validation", top1=top1, top5=None, loss=1 - top1, n_images=100, ci95=(0.0, 1.0))


FACTS = SiteFacts(
    index=0,
    is_conv=True,
    is_fc=False,
    in_channels=CHANNELS,
    out_channels=CHANNELS,
    stride=1,
    kernel=3,
    weights=9 * CHANNELS**2,
    macs=1 / 3,
    largest_singular_value=1.0,
    effective_rank=0.5,
)


GRID = dict.fromkeys(VALUE, CHOICES)
KINDS: dict[str, Actions] = {
    "absolute": Choices([CHOICES] * len(VALUE)),
    "around_target": Choices([CHOICES] * len(VALUE)),
    "continuous": Shares(GRID),
    "bounded": Shares(GRID, lambda counts: ratio(counts) / 0.45),
}


def toy_subject(names: Sequence[str], channels: int) -> Subject:
    """A chain of convolutions, each of which is a group of the task, with random weights."""
    subject = Subject(Config(name="toy", pruning=PruningSection(round_to=1)), Path("nowhere"))
    inputs = [3, *[channels] * (len(names) - 1)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        convolutions = [(name, nn.Conv2d(before, channels, 1)) for name, before in zip(names, inputs, strict=True)]
        ends = [("pool", nn.AdaptiveAvgPool2d(1)), ("flat", nn.Flatten()), ("head", nn.Linear(channels, len(CLASSES)))]
        subject.network = nn.Sequential(OrderedDict[str, nn.Module]([*convolutions, *ends])).eval()
    subject.data = toy_data()
    return subject


class ToyJudge:
    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.calls = 0

    def begin(self) -> Evaluation:
        self.counts = {}
        return evaluation(accuracy({}))

    def prune(self, channels: np.ndarray) -> Evaluation:
        self.calls += 1
        self.counts[list(VALUE)[len(self.counts)]] = CHANNELS - len(channels)
        return evaluation(accuracy(self.counts))


class ToyLatency:
    def __init__(self, energy_share: float = 0.0) -> None:
        self.energy_share = energy_share

    def step(self, counts: Mapping[str, int]) -> CostAnswer:
        energy = EnergyAnswer(ratio=energy_ratio(counts), target_ratio=0.45, share=self.energy_share, source="measured")
        return CostAnswer(
            ratio=ratio(counts),
            latency_ms=2 * ratio(counts),
            dense_ms=2.0,
            target_ratio=0.45,
            source="table",
            energy=energy if self.energy_share else None,
        )

    end = step

    def recall(self, counts: Mapping[str, int], source: str) -> None:
        """Nothing to learn."""


def toy_env(
    folder: Path,
    *,
    dense: bool = True,
    state: str = "per_layer",
    seed: int = 0,
    energy_share: float = 0.0,
    stop_below: float = 0.0,
    actions: str = "absolute",
) -> PruneEnv:
    judge = ToyJudge()
    pruner = ChannelPruner(
        tuple(ChannelGroup(name, CHANNELS, (), None) for name in VALUE),
        {name: np.arange(CHANNELS, dtype=float) for name in VALUE},
        judge,  # type: ignore[arg-type]
        lambda counts: evaluation(accuracy(counts)),
    )
    task = PruningTask(
        sites=[Site(name, CHANNELS) for name in VALUE],
        actions=KINDS[actions],
        pruner=pruner,
        cost=ToyLatency(energy_share),
        macs=lambda counts: round(1000 * ratio(counts)),
        reward=make_reward(RewardSection(energy=energy_share), 0.95),
        dense_reward=dense,
        state=state,
        facts=[FACTS] * len(VALUE),
        stop_below=stop_below,
        grid=GRID,
        subject=toy_subject(tuple(VALUE), CHANNELS),
    )
    folder.mkdir(exist_ok=True)
    return PruneEnv(task, EpisodeLog(folder / "episodes.jsonl"), seed)
