"""A search over weights: in rounds of growing sparsity, each round's network fine-tuned before the next (PuRL 4.3).

No device is asked: zeros cost a dense kernel what other weights cost, so what is saved is counted, and what the
exported sparse file saves is measured in the end.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from torch import nn

from pipeline.errors import ModelError
from pipeline.progress import Progress
from pipeline.pruning.costs import trace_shape
from pipeline.pruning.weights import WeightLayer, make_weight_plan, weight_layers, zero_weights, zeros_of
from pipeline.records import Episode, Evaluation, PruningPlan
from pipeline.run_folder import hash_json
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
from pipeline.subject import Subject, load_weights, save_weights


def open_layers(subject: Subject) -> tuple[WeightLayer, ...]:
    """The layers that are walked: all but those that `pruning.skip` names.

    Raises:
        ModelError: a pattern matches no layer, or none is left.
    """
    layers = weight_layers(subject.network, subject.input_shape)
    skip = subject.config.pruning.skip
    for pattern in skip:
        if not any(fnmatchcase(layer.name, pattern) for layer in layers):
            known = ", ".join(layer.name for layer in layers)
            raise ModelError(f"pruning.skip: {pattern!r} matches no layer; the layers are {known}")
    left = tuple(layer for layer in layers if not any(fnmatchcase(layer.name, pattern) for pattern in skip))
    if not left:
        raise ModelError("pruning.skip leaves no layer to prune; name fewer")
    return left


def make_weight_task(
    subject: Subject, network: nn.Module, layers: Sequence[WeightLayer], target_sparsity: float
) -> PruningTask:
    """The task of one round, every episode of which starts from `network`."""
    config, settings = subject.config, subject.config.search
    kind = agents.actions_of(settings, "weights")
    amounts = weight_amounts(config.pruning)
    if kind == "absolute":
        actions: Actions = Choices([amounts] * len(layers))
    else:
        actions = WeightShares(highest_amount(config.pruning))
    dense = subject.evaluate(subject.network, subject.data.validation)
    shape = trace_shape(subject.network, (), subject.input_shape)
    whole = shape.macs({})

    def macs(kept: Mapping[str, int]) -> int:
        """Those with weights that are not zero."""
        gone = {layer.name: layer.size - kept.get(layer.name, layer.size) for layer in layers}
        return whole - sum(layer.out_pixels * gone.get(layer.name, 0) for layer in shape.layers)

    chance = 1.0 / len(subject.data.classes)
    return PruningTask(
        sites=[Site(layer.name, layer.size) for layer in layers],
        actions=actions,
        pruner=WeightPruner(subject, network, layers),
        cost=CountedWeights({layer.name: layer.size for layer in layers}, target_sparsity),
        macs=macs,
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
        self._folder = folder
        self._progress = progress
        self._rounds = (*subject.config.search.rounds, subject.config.search.target.sparsity or 0.0)

    def run(self) -> tuple[nn.Module, list[Finalist]]:
        """Play all rounds; the network that the last one started from, and its finalists, the winner first."""
        network: nn.Module = self.subject.network
        for number, sparsity in enumerate(self._rounds, start=1):
            last = number == len(self._rounds)
            folder = self._folder if last else self._folder / f"round-{number}"
            folder.mkdir(exist_ok=True)
            tuned = folder / "model.safetensors"
            if not last and tuned.exists():
                network = self._loaded(tuned)
                continue
            finalists = self._play(number, network, sparsity, folder)
            if last:
                return network, finalists
            network = self._fine_tuned(network, finalists[0].plan)
            save_weights(network, tuned)
        raise AssertionError("the last round returns")

    def plan(self, kept: Mapping[str, int], **provenance: object) -> PruningPlan:
        return make_weight_plan(self.subject.architecture, self.layers, kept, provenance)

    def uniform(self, sparsity: float) -> dict[str, int]:
        """The baseline of PuRL's tables 3 and 6: every layer loses the same share."""
        return {layer.name: max(1, layer.size - round(layer.size * sparsity)) for layer in self.layers}

    def _play(self, number: int, network: nn.Module, sparsity: float, folder: Path) -> list[Finalist]:
        config = self.subject.config
        label = f"round {number} of {len(self._rounds)}, " if len(self._rounds) > 1 else ""

        def show(episode: Episode) -> None:
            self._progress.update(label + in_words(episode), episode.index + 1, config.search.episodes + 2)

        log = EpisodeLog(folder / "episodes.jsonl", show)
        task = make_weight_task(self.subject, network, self.layers, sparsity)
        env = PruneEnv(task, log, config.seed)
        env.play_plan(self.uniform(sparsity), "reference")
        agents.find(config.search.agent)(env, config.search, config.seed, folder)
        self.episodes = log.episodes
        best = shortlist(log.episodes, config.search.finalists)
        if not best:
            raise ModelError(
                f"every episode was given up: after some layer top-1 was below {task.stop_below:.2%}; ask for less "
                f"sparsity than {sparsity:.0%}, retrain on more images (search.recover), or lower search.stop_below"
            )
        return self._judged(network, best)

    def _judged(self, network: nn.Module, episodes: Sequence[Episode]) -> list[Finalist]:
        finalists = []
        for number, episode in enumerate(episodes, start=1):
            end = episode.steps[-1]
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
                    validation=self._validated(network, episode.plan),
                )
            )
            self._progress.update("finalists", number, len(episodes))
        return sorted(finalists, key=merit, reverse=True)

    def _validated(self, network: nn.Module, kept: Mapping[str, int]) -> Evaluation:
        tuned = self._fine_tuned(network, kept, epochs=self.subject.config.search.finalist_epochs)
        return self.subject.evaluate(tuned, self.subject.data.validation)

    def _fine_tuned(self, network: nn.Module, kept: Mapping[str, int], epochs: int | None = None) -> nn.Module:
        settings = self.subject.config.finetune
        tuned = copy.deepcopy(network)
        zero_weights(tuned, self.plan(kept))
        asked = settings if epochs is None else settings.model_copy(update={"epochs": epochs})
        self.subject.fit(tuned, asked, hold=zeros_of(tuned))
        return tuned

    def _loaded(self, weights: Path) -> nn.Module:
        network = copy.deepcopy(self.subject.network)
        load_weights(network, weights)
        return network
