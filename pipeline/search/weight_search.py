"""A search over weights: in rounds of growing sparsity, each round's network fine-tuned before the next (PuRL 4.3).

No device is asked: zeros cost a dense kernel what other weights cost, so what is saved is counted, and what the
exported sparse file saves is measured in the end.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import nn

from pipeline.progress import Progress
from pipeline.pruning.costs import trace_shape
from pipeline.pruning.weights import WeightLayer, sparsity, weight_layers, weights_left
from pipeline.records import Episode, PruningPlan, read_json
from pipeline.run_folder import hash_json, write_json
from pipeline.search import agents
from pipeline.search.actions import Actions, Choices, WeightShares, highest_amount, weight_amounts
from pipeline.search.cost import CountedWeights
from pipeline.search.env import PruneEnv, PruningTask
from pipeline.search.episodes import EpisodeLog, in_words
from pipeline.search.finalists import Finalist, merit, shortlist
from pipeline.search.pruner import Site
from pipeline.search.rewards import make_reward
from pipeline.search.sites import facts_of_layers
from pipeline.search.task import accuracy_target
from pipeline.search.weight_pruner import WeightPruner
from pipeline.search.weight_rounds import Round, fine_tuned, open_layers, plan_of, uniform_kept
from pipeline.subject import Subject, load_weights, save_weights
from pipeline.training import EpochReport


def make_weight_task(
    subject: Subject, network: nn.Module, layers: Sequence[WeightLayer], target_sparsity: float
) -> PruningTask:
    """The task of one round, every episode of which starts from `network`.

    Args:
        layers: those that are walked; the target counts the weights of all.
    """
    config, settings = subject.config, subject.config.search
    kind = agents.actions_of(settings, "weights")
    amounts = weight_amounts(config.pruning)
    if kind == "absolute":
        actions: Actions = Choices([amounts] * len(layers))
    else:
        actions = WeightShares(highest_amount(config.pruning), config.pruning.threshold)
    dense = subject.evaluate(subject.network, subject.data.validation)
    every = weight_layers(network, subject.input_shape)
    sizes, start = {layer.name: layer.size for layer in every}, weights_left(network, every)
    shape = trace_shape(network, (), subject.input_shape)
    chance = 1.0 / len(subject.data.classes)
    return PruningTask(
        sites=[Site(layer.name, layer.size) for layer in layers],
        actions=actions,
        pruner=WeightPruner(subject, network, layers),
        cost=CountedWeights(sizes, start, target_sparsity),
        macs=lambda kept: shape.macs_without({name: sizes[name] - kept.get(name, start[name]) for name in sizes}),
        reward=make_reward(settings.reward, accuracy_target(dense, settings.target)),
        dense_reward=settings.reward.dense,
        state=agents.state_of(settings),
        facts=facts_of_layers(subject.network, [layer.name for layer in layers], shape),
        stop_below=chance if settings.stop_below is None else settings.stop_below,
    )


class WeightSearch:
    """The rounds of one search; `folder` holds what each has done, so that a search that was killed goes on."""

    def __init__(self, subject: Subject, folder: Path, progress: Progress) -> None:
        self.subject = subject
        self.layers = open_layers(subject)
        self.episodes: list[Episode] = []
        """Of the last round."""
        self.rounds: list[Round] = []
        self._folder = folder
        self._progress = progress
        self._targets = (*subject.config.search.rounds, subject.config.search.target.sparsity or 0.0)
        self._weights = sum(layer.size for layer in weight_layers(subject.network, subject.input_shape))

    def run(self) -> tuple[nn.Module, list[Finalist]]:
        """Play all rounds; the network that the last one started from, and its finalists, the winner first.

        Raises:
            ConfigError: a sparsity that cannot be reached.
            SearchError: every episode of a round was given up.
        """
        network: nn.Module = self.subject.network
        self._uniform(network, self._targets[-1])  # what cannot be reached is said at once
        for number, target in enumerate(self._targets[:-1], start=1):
            folder = self._folder / f"round-{number}"
            folder.mkdir(exist_ok=True)
            tuned, told = folder / "model.safetensors", folder / "round.json"
            if tuned.exists():
                network = self._loaded(tuned)
                self.rounds.append(read_json(Round, told))
                continue
            best = self._play(number, network, target, folder)[0]
            network = self._tuned(network, best.plan, folder, f"fine-tuning round {number}")
            write_json(told, self.rounds[-1])
            save_weights(network, tuned)
        return network, self._play(len(self._targets), network, self._targets[-1], self._folder)

    def plan(self, kept: Mapping[str, int], **provenance: object) -> PruningPlan:
        return plan_of(self.subject, self.layers, kept, **provenance)

    def uniform(self, sparsities: Sequence[float]) -> tuple[nn.Module, PruningPlan]:
        """The control: at the sparsities that the rounds reached, fine-tuned as often; its last start, and its plan."""
        network: nn.Module = self.subject.network
        folder = self._folder / "controls" / "uniform"
        for number, reached in enumerate(sparsities[:-1], start=1):
            place = folder / f"round-{number}"
            place.mkdir(parents=True, exist_ok=True)
            tuned = place / "model.safetensors"
            if tuned.exists():
                network = self._loaded(tuned)
                continue
            network = self._tuned(network, self._uniform(network, reached), place, f"fine-tuning uniform, {number}")
            save_weights(network, tuned)
        return network, self.plan(self._uniform(network, sparsities[-1]), control="uniform")

    def _uniform(self, network: nn.Module, target: float) -> dict[str, int]:
        return uniform_kept(network, self.layers, self._weights, target)

    def _play(self, number: int, network: nn.Module, target: float, folder: Path) -> list[Finalist]:
        config = self.subject.config
        label = f"round {number} of {len(self._targets)}, " if len(self._targets) > 1 else ""

        def show(episode: Episode) -> None:
            self._progress.update(label + in_words(episode), episode.index + 1, config.search.episodes + 2)

        log = EpisodeLog(folder / "episodes.jsonl", show)
        task = make_weight_task(self.subject, network, self.layers, target)
        env = PruneEnv(task, log, config.seed)
        env.play_plan(self._uniform(network, target), "reference")
        agents.find(config.search.agent)(env, config.search, config.seed, folder)
        self.episodes = log.episodes
        best = shortlist(log.episodes, config.search.finalists)
        finalists = self._judged(network, best)
        self.rounds.append(
            Round(
                target_sparsity=target,
                sparsity=1.0 - finalists[0].cost_ratio,
                validation_top1=finalists[0].validation.top1,
                episodes=len(log.episodes),
                wall_s=sum(sum(episode.seconds.values()) for episode in log.episodes),
            )
        )
        return finalists

    def _judged(self, network: nn.Module, episodes: Sequence[Episode]) -> list[Finalist]:
        finalists = []
        for number, episode in enumerate(episodes, start=1):
            end = episode.steps[-1]
            epochs = self.subject.config.search.finalist_epochs
            tuned = fine_tuned(self.subject, network, self.plan(episode.plan), epochs=epochs)
            finalists.append(
                Finalist(
                    plan_id=hash_json(episode.plan)[:12],
                    episode=episode.index,
                    kind=episode.kind,
                    plan=episode.plan,
                    ratio=None,
                    ci95=None,
                    cost_ratio=end.cost_ratio,
                    target_ratio=end.target_ratio,
                    energy=None,
                    validation=self.subject.evaluate(tuned, self.subject.data.validation),
                )
            )
            self._progress.update("finalists", number, len(episodes))
        return sorted(finalists, key=merit, reverse=True)

    def _tuned(self, network: nn.Module, kept: Mapping[str, int], folder: Path, label: str) -> nn.Module:
        def show(report: EpochReport) -> None:
            self._progress.update(label, report.epoch, report.epochs)

        plan, checkpoint = self.plan(kept), folder / "checkpoint.pt"
        tuned = fine_tuned(self.subject, network, plan, checkpoint=checkpoint, on_epoch=show)
        self._progress.update(f"{label}: {sparsity(tuned):.1%} of the weights are zero")
        return tuned

    def _loaded(self, weights: Path) -> nn.Module:
        network = copy.deepcopy(self.subject.network)
        load_weights(network, weights)
        return network
