"""What the rounds of a search over weights share: the layers, uniform plans, and the network that a round ends with."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from torch import nn

from pipeline.errors import ConfigError, ModelError
from pipeline.pruning.weights import (
    WeightLayer,
    make_weight_plan,
    weight_layers,
    weights_left,
    zero_weights,
    zeros_of,
)
from pipeline.records import PruningPlan, Record
from pipeline.subject import Subject
from pipeline.training import EpochReport

HALVINGS = 60


class Round(Record):
    """One round, as the search's summary lists it."""

    target_sparsity: float
    sparsity: float
    """Of the plan that won it, over all convolutions and linear layers."""
    validation_top1: float
    """Of that plan, after `search.finalist_epochs` of fine-tuning."""
    episodes: int
    wall_s: float


def open_layers(subject: Subject) -> tuple[WeightLayer, ...]:
    """The layers that are walked, see `not_skipped`."""
    return not_skipped(weight_layers(subject.network, subject.input_shape), subject.config.pruning.skip)


def not_skipped(layers: Sequence[WeightLayer], skip: Sequence[str]) -> tuple[WeightLayer, ...]:
    """All layers but those that `pruning.skip` names.

    Raises:
        ModelError: a pattern matches no layer, or none is left.
    """
    for pattern in skip:
        if not any(fnmatchcase(layer.name, pattern) for layer in layers):
            known = ", ".join(layer.name for layer in layers)
            raise ModelError(f"pruning.skip: {pattern!r} matches no layer; the layers are {known}")
    left = tuple(layer for layer in layers if not any(fnmatchcase(layer.name, pattern) for pattern in skip))
    if not left:
        raise ModelError("pruning.skip leaves no layer to prune; name fewer")
    return left


def uniform_kept(network: nn.Module, layers: Sequence[WeightLayer], sizes: int, sparsity: float) -> dict[str, int]:
    """What each layer keeps where all lose the same share: the baseline of PuRL's tables 3 and 6.

    A layer that has fewer weights left than that already keeps those, and the others lose more.

    Args:
        layers: those that may be pruned.
        sizes: weights of all layers, of which `sparsity` shall be zero.

    Raises:
        ConfigError: the layers that may not be pruned hold too many.
    """
    left = weights_left(network, layers)
    whole = sizes - sum(layer.size for layer in layers)
    wanted = round(sizes * (1.0 - sparsity)) - whole
    if wanted < len(layers):
        most = 1.0 - (whole + len(layers)) / sizes
        raise ConfigError(
            f"search.target.sparsity {sparsity:g} cannot be reached: what pruning.skip leaves whole and one weight of "
            f"each other layer make {most:.1%} the most; ask for less, or skip fewer layers"
        )

    def kept_at(share: float) -> dict[str, int]:
        return {layer.name: max(1, min(left[layer.name], round(layer.size * share))) for layer in layers}

    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if sum(kept_at(middle).values()) <= wanted else (low, middle)
    return kept_at(low)


def fine_tuned(
    subject: Subject,
    network: nn.Module,
    plan: PruningPlan,
    *,
    epochs: int | None = None,
    checkpoint: Path | None = None,
    on_epoch: Callable[[EpochReport], None] | None = None,
) -> nn.Module:
    """A copy of the network, zeroed by the plan and trained with the settings of `finetune`.

    Args:
        epochs: other than those of `finetune`.
        checkpoint: where a training that was killed goes on; gone when it is done.
    """
    settings = subject.config.finetune
    tuned = copy.deepcopy(network)
    zero_weights(tuned, plan)
    asked = settings if epochs is None else settings.model_copy(update={"epochs": epochs})
    subject.fit(tuned, asked, hold=zeros_of(tuned), checkpoint=checkpoint, on_epoch=on_epoch)
    if checkpoint:
        checkpoint.unlink()
    return tuned


def plan_of(
    subject: Subject, layers: Sequence[WeightLayer], kept: Mapping[str, int], **provenance: object
) -> PruningPlan:
    return make_weight_plan(subject.architecture, layers, kept, provenance)
