"""A pruning task with a known best plan and no network: groups whose channels matter more or less."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pipeline.config import RewardSection
from pipeline.pruning.groups import ChannelGroup
from pipeline.records import EnergyAnswer, Evaluation
from pipeline.search.env import PruneEnv, PruningTask
from pipeline.search.episodes import EpisodeLog
from pipeline.search.latency import LatencyAnswer

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

    def step(self, counts: Mapping[str, int]) -> LatencyAnswer:
        energy = EnergyAnswer(ratio=energy_ratio(counts), target_ratio=0.45, share=self.energy_share, source="measured")
        return LatencyAnswer(
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
    folder: Path, *, dense: bool = True, state: str = "per_layer", seed: int = 0, energy_share: float = 0.0
) -> PruneEnv:
    task = PruningTask(
        groups=tuple(ChannelGroup(name, CHANNELS, (), None) for name in VALUE),
        keep_choices=dict.fromkeys(VALUE, CHOICES),
        scores={name: np.arange(CHANNELS, dtype=float) for name in VALUE},
        judge=ToyJudge(),  # type: ignore[arg-type]
        fit=dict,
        evaluate=lambda counts: evaluation(accuracy(counts)),
        latency=ToyLatency(energy_share),
        accuracy_target=0.95,
        reward=RewardSection(dense=dense, energy=energy_share),
        state=state,
    )
    folder.mkdir(exist_ok=True)
    return PruneEnv(task, EpisodeLog(folder / "episodes.jsonl"), seed)
