"""What the tables of PuRL (001_147cc4adf19daa6c) share: one search as its Algorithm 1 has it, and what came of it.

A network is pruned layer by layer, in episodes that begin with it whole; what five greedy episodes did is averaged and
put through it once more, with the retraining after each layer; then the whole is fine-tuned, where the table asks for
it. Later rounds (section 4.3) go on from there.

Departures, besides those of `pipeline/search/agents/dqn.py` and `pipeline/search/features.py`: T_A is the dense
network's accuracy less `accuracy_drop`, since the paper gives its 95% without the dense network's figure; the images of
validation judge the steps, those of test only the end.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pipeline.config import Config, FinetuneSection, PruningSection
from pipeline.records import Episode, Record, read_json
from pipeline.reproduce.context import Context, make_folder
from pipeline.reproduce.network import NetworkSettings
from pipeline.run_folder import write_json
from pipeline.search_section import RecoverSection, RewardSection, SearchSection, TargetSection
from pipeline.section import OpenShare, Positive, PositiveInt, Section

if TYPE_CHECKING:
    from torch import nn

    from pipeline.pruning.weights import WeightLayer
    from pipeline.subject import Subject

GIVEN_UP = "the trained policy's own episodes were given up"


class Design(Section):
    """What Table 1 varies; the defaults are its row `dense rewards`."""

    state: Literal["simple", "per_layer"] = "simple"
    """3 numbers, or 2 for each layer."""
    threshold: Literal["sigma", "share"] = "sigma"
    sigma_step: Positive = 0.1
    reward: Literal["sparsity", "equation_4", "equation_5"] = "sparsity"
    dense: bool = True
    """Whether every step is paid, or the last one alone."""


FINAL = Design(state="per_layer", sigma_step=0.2)
"""What the paper settles on (4.1.4 and 4.1.5) for Tables 3 to 6."""


class PurlSettings(Section):
    """One network, and how it is pruned."""

    network: NetworkSettings
    sparsities: tuple[OpenShare, ...]
    """The target of each round."""
    accuracy_drop: OpenShare = 0.01
    episodes: PositiveInt = 55
    greedy_episodes: PositiveInt = 5
    """Played with the trained policy, and averaged."""
    retrain: RecoverSection
    judge_images: PositiveInt
    """Validation images after each layer; the end of an episode is judged on all of them."""
    stop_early: bool = False
    """Whether an episode is given up below chance: the paper's 0.1% of 1,000 classes (4.3)."""
    finetune: FinetuneSection | None = None
    """After each round; None leaves the network as the last layer's retraining left it."""


def retraining(images: int, learning_rate: float) -> RecoverSection:
    """One epoch over so many images after each layer."""
    return RecoverSection(kind="retrain", each_step=True, images=images, learning_rate=learning_rate)


def smoke_scale(network: NetworkSettings, *sparsities: float, **changes: Any) -> PurlSettings:
    """As little as still has every kind of episode."""
    return PurlSettings(
        network=network,
        sparsities=sparsities,
        episodes=1,
        greedy_episodes=2,
        retrain=retraining(32, 0.01),
        judge_images=32,
        **changes,
    )


def paper_scale(network: NetworkSettings, *sparsities: float, **changes: Any) -> PurlSettings:
    """1,000 images after each layer (3.3.2), judged by the whole split; the rate is not in the paper."""
    return PurlSettings(
        network=network, sparsities=sparsities, retrain=retraining(1_000, 0.01), judge_images=10_000, **changes
    )


def configuration(settings: PurlSettings, design: Design, seed: int) -> Config:
    return settings.network.config(
        seed,
        pruning=PruningSection(kind="weights", threshold=design.threshold, sigma_step=design.sigma_step),
        search=SearchSection(
            agent="dqn",
            episodes=settings.episodes,
            state=design.state,
            reward=RewardSection(name=design.reward, dense=design.dense),
            target=TargetSection(sparsity=settings.sparsities[-1], accuracy_drop=settings.accuracy_drop),
            recover=settings.retrain,
            judge_images=settings.judge_images,
            stop_below=None if settings.stop_early else 0.0,
            options={"greedy_episodes": settings.greedy_episodes},
        ),
        finetune=settings.finetune or FinetuneSection(),
        controls=(),
    )


class Outcome(Record):
    """What became of one network; accuracies are of the test split, None where the search ended in none."""

    top1: float | None
    """At the end: fine-tuned, if it was."""
    pruned_top1: float | None
    """Before fine-tuning."""
    sparsity: float | None
    flops_reduction: float | None
    """Share of the multiply-accumulates that have a zero weight as a factor."""
    missing: dict[str, str]
    """Why a figure is None."""


class Round(Outcome):
    """A search and what came of it; the lists have one entry for each episode."""

    target: float
    reward: float | None
    """Of the last step of the averaged sequence."""
    rewards: list[float | None]
    """Of each episode's last step, which dense and sparse rewards pay alike; None where it was given up."""
    episode_top1: list[float | None]
    episode_sparsity: list[float | None]
    explored: int
    """How many of them, the first ones, taught the agent; the greedy ones and their average follow."""
    given_up: int
    evaluations: int
    """How often a network was retrained and judged."""
    search_s: float


def search_in_rounds(
    settings: PurlSettings, design: Design, seed: int, context: Context[Any]
) -> tuple[dict[str, Any], nn.Module | None]:
    """The results of a cell (the last round's, with all in `rounds`), and its network.

    A cell that was killed goes on from the episode, the epoch or the round that it was in.
    """
    from pipeline.subject import load_weights, save_weights

    subject = context.subject(configuration(settings, design, seed))
    rounds: list[Round] = []
    network: nn.Module | None = subject.network
    for number, target in enumerate(settings.sparsities, start=1):
        folder = make_folder(context.folder / f"round-{number}")
        told, weights = folder / "round.json", folder / "model.safetensors"
        if told.exists():
            rounds.append(read_json(Round, told))
            if weights.exists():
                network = copy.deepcopy(subject.network)
                load_weights(network, weights)
            else:
                network = None
        else:
            assert network is not None
            one, network = _round(subject, network, target, settings, folder, context)
            if network is not None:
                save_weights(network, weights)
            write_json(told, one)
            rounds.append(one)
        if network is None:
            break
    told_rounds = [one.model_dump(mode="json") for one in rounds]
    return {**told_rounds[-1], "dense_top1": dense_top1(subject), "rounds": told_rounds}, network


def dense_top1(subject: Subject) -> float:
    return subject.evaluate(subject.network, subject.data.test).top1


def _round(
    subject: Subject, network: nn.Module, target: float, settings: PurlSettings, folder: Path, context: Context[Any]
) -> tuple[Round, nn.Module | None]:
    from pipeline.pruning.weights import weight_layers

    layers = weight_layers(network, subject.input_shape)
    episodes = _search(subject, network, layers, target, folder, context)
    average = episodes[-1]
    if average.kind == "average" and average.failure is None:
        pruned: nn.Module | None = put_through(subject, network, layers, average.plan, average.index)
    else:
        pruned = None
    outcome, tuned = outcome_of(subject, pruned, settings, folder, context)
    whole = [episode if episode.failure is None else None for episode in episodes]
    return (
        Round(
            **outcome.model_dump(),
            target=target,
            reward=average.steps[-1].reward if pruned else None,
            rewards=[one.steps[-1].reward if one else None for one in whole],
            episode_top1=[one.evaluation.top1 if one and one.evaluation else None for one in whole],
            episode_sparsity=[1.0 - one.cost_ratio if one else None for one in whole],
            explored=sum(episode.kind == "explore" for episode in episodes),
            given_up=whole.count(None),
            evaluations=sum(len(episode.steps) for episode in episodes),
            search_s=sum(sum(episode.seconds.values()) for episode in episodes),
        ),
        tuned,
    )


def _search(
    subject: Subject,
    network: nn.Module,
    layers: Sequence[WeightLayer],
    target: float,
    folder: Path,
    context: Context[Any],
) -> list[Episode]:
    """The agent's episodes, its greedy ones, and their average, if any of these got to the end."""
    from pipeline.search import agents
    from pipeline.search.env import PruneEnv
    from pipeline.search.episodes import EpisodeLog, in_words
    from pipeline.search.weight_search import make_weight_task

    config = subject.config
    expected = config.search.episodes + config.search.options["greedy_episodes"] + 1

    def show(episode: Episode) -> None:
        context.progress.update(in_words(episode), episode.index + 1, expected)

    log = EpisodeLog(folder / "episodes.jsonl", show)
    env = PruneEnv(make_weight_task(subject, network, layers, target), log, config.seed)
    agents.find(config.search.agent)(env, config.search, config.seed, folder)
    return log.episodes


def put_through(
    subject: Subject, network: nn.Module, layers: Sequence[WeightLayer], kept: Mapping[str, int], episode: int
) -> nn.Module:
    """A copy, pruned to this plan layer by layer and retrained after each as in an episode of this number.

    A log holds what was kept, not the weights: this makes them again.
    """
    from pipeline.search.weight_pruner import WeightPruner

    pruner = WeightPruner(subject, network, layers)
    pruner.begin(episode)
    for number, layer in enumerate(layers[:-1]):
        pruner.prune(number, kept[layer.name])
    pruner.finish(kept)
    return pruner.network


def outcome_of(
    subject: Subject, pruned: nn.Module | None, settings: PurlSettings, folder: Path, context: Context[Any]
) -> tuple[Outcome, nn.Module | None]:
    """Fine-tune the pruned network (in place), if the settings say so, and test it."""
    from pipeline.pruning.costs import trace_shape
    from pipeline.pruning.weights import sparsity, weight_layers, weights_left

    if pruned is None:
        none = dict.fromkeys(("top1", "pruned_top1", "sparsity", "flops_reduction"))
        missing = dict.fromkeys((*none, "reward"), GIVEN_UP)
        return Outcome.model_validate({**none, "missing": missing}), None
    before = subject.evaluate(pruned, subject.data.test).top1
    after = before
    if settings.finetune:
        after = fine_tune(subject, pruned, settings.finetune, folder / "checkpoint.pt", context)
    layers = weight_layers(pruned, subject.input_shape)
    left = weights_left(pruned, layers)
    shape = trace_shape(subject.network, (), subject.input_shape)
    macs = shape.macs_without({layer.name: layer.size - left[layer.name] for layer in layers})
    outcome = Outcome(
        top1=after,
        pruned_top1=before,
        sparsity=sparsity(pruned),
        flops_reduction=1.0 - macs / shape.macs({}),
        missing={},
    )
    return outcome, pruned


def fine_tune(
    subject: Subject, network: nn.Module, settings: FinetuneSection, checkpoint: Path, context: Context[Any]
) -> float:
    """Train the network in place, zeros staying zero; its accuracy on the test split."""
    from pipeline.pruning.weights import zeros_of

    subject.fit(
        network,
        settings,
        hold=zeros_of(network),
        checkpoint=checkpoint,
        on_epoch=lambda report: context.progress.update("fine-tuning", report.epoch, report.epochs),
    )
    return subject.evaluate(network, subject.data.test).top1
