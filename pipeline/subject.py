"""What a run is about: the data set, the trained dense network, its channel groups and their importance."""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
from numpy.typing import NDArray
from torch import nn

import models
from models.callables import resolve
from pipeline.config import Config, FinetuneSection, PruningSection
from pipeline.data import load_data
from pipeline.data.splits import DataSet, Split, take
from pipeline.errors import ModelError, StorageError
from pipeline.evaluation import Accuracy, Loss, correct, evaluate, logits, loss_value
from pipeline.pruning.channels import rebuild, verified
from pipeline.pruning.costs import NetworkShape, trace_shape
from pipeline.pruning.groups import ChannelGroup, find_groups, prunable, require_prunable
from pipeline.pruning.importance import Importance, group_scores
from pipeline.pruning.sensitivity import losses_alone
from pipeline.pruning.weights import require_zeros, zero_weights
from pipeline.records import Architecture, Evaluation, PruningPlan
from pipeline.run_folder import write_bytes
from pipeline.training import EpochReport, Settings, fit

GRADIENT_IMAGES = 1024
"""Training images that importances by gradient (taylor, fisher) are averaged over."""
GRADIENT_BATCH = 64


class Subject:
    """Loads each part once, when it is first asked for."""

    def __init__(self, config: Config, weights: Path) -> None:
        self.config = config
        self.weights = weights

    @functools.cached_property
    def data(self) -> DataSet:
        return load_data(self.config.data, self.config.seed)

    @functools.cached_property
    def architecture(self) -> Architecture:
        model, data = self.config.model, self.data
        return Architecture(
            name=model.name,
            options=model.options,
            num_classes=len(data.classes),
            image_size=self.config.data.image_size,
            channels=data.preprocessing.channels,
        )

    @functools.cached_property
    def loss(self) -> Loss | None:
        """The user's loss, or None for cross-entropy."""
        name = self.config.data.loss
        return None if name is None else resolve(name, "data.loss")

    @functools.cached_property
    def accuracy(self) -> Accuracy | None:
        """The user's accuracy per image, or None for top-1."""
        name = self.config.data.evaluation
        return None if name is None else resolve(name, "data.evaluation")

    def evaluate(self, network: nn.Module, split: Split) -> Evaluation:
        return evaluate(network, split, evaluation=self.accuracy, loss=self.loss)

    def answers(self, network: nn.Module, split: Split) -> NDArray[np.float64]:
        """Accuracy of each image, in the order of the split."""
        return correct(*logits(network, split), self.accuracy)

    def fit(self, network: nn.Module, settings: Settings, **options: Any) -> list[EpochReport]:
        """`training.fit` with the run's loss and seed, and the dense network as the teacher where it distils."""
        distils = isinstance(settings, FinetuneSection) and settings.distill > 0
        teacher = self.network if distils else None
        return fit(network, self.data, settings, seed=self.config.seed, teacher=teacher, loss=self.loss, **options)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        size = self.architecture.image_size
        return self.architecture.channels, size, size

    @functools.cached_property
    def network(self) -> nn.Module:
        """The dense network with the baseline's weights, in eval mode."""
        network = build(self.architecture)
        load_weights(network, self.weights)
        return network

    @functools.cached_property
    def all_groups(self) -> tuple[ChannelGroup, ...]:
        return self.find_groups(self.network)

    def find_groups(self, network: nn.Module) -> tuple[ChannelGroup, ...]:
        """The network's channel groups, tried out.

        Raises:
            ModelError: nothing in it can be pruned.
        """
        groups = verified(network, find_groups(network, self.input_shape, self.config.pruning), self.input_shape)
        require_prunable(groups)
        return groups

    @property
    def groups(self) -> tuple[ChannelGroup, ...]:
        """The groups that may be pruned, in the order of the walk."""
        return prunable(self.all_groups)

    @functools.cached_property
    def shape(self) -> NetworkShape:
        return trace_shape(self.network, self.all_groups, self.input_shape)

    @functools.cached_property
    def scores(self) -> Mapping[str, NDArray[np.float64]]:
        """By which of a group's channels stay."""
        return self.scores_by(self.config.pruning.importance)

    def scores_by(self, importance: Importance, *, relative: bool = True) -> Mapping[str, NDArray[np.float64]]:
        """Scores (channels,) of the groups that may be pruned, see `group_scores`."""
        images = take(self.data.train, min(GRADIENT_IMAGES, len(self.data.train)), self.config.seed)
        batches = images.batches(GRADIENT_BATCH)
        return group_scores(
            self.network,
            self.groups,
            importance,
            batches=batches,
            seed=self.config.seed,
            relative=relative,
            loss=self.loss,
        )

    def losses_alone(self) -> Mapping[str, float]:
        """By how much the loss rises when half of one group alone goes, on `search.judge_images` validation images."""
        validation = self.data.validation
        few = take(validation, min(self.config.search.judge_images, len(validation)), self.config.seed)
        images, labels = next(iter(few.batches(len(few))))
        return losses_alone(
            self.network,
            self.groups,
            self.scores,
            images,
            lambda answers: float(loss_value(self.loss, answers, labels)),
        )

    def slim(self, plan: PruningPlan) -> nn.Module:
        """A copy of the dense network without the plan's channels, or with zeros in place of its weights."""
        if not plan.weights:
            return rebuild(self.network, self.all_groups, plan)
        network = copy.deepcopy(self.network)
        zero_weights(network, plan)
        return network


def build(architecture: Architecture) -> nn.Module:
    """The dense network with random weights, in eval mode."""
    network = models.load(
        architecture.name,
        num_classes=architecture.num_classes,
        options=architecture.options,
        image_size=architecture.image_size,
    )
    return network.eval()


def load_slimmed(plan: PruningPlan, weights: Path) -> nn.Module:
    """Rebuild a slimmed network from `plan.json` and `model.safetensors` alone, in eval mode.

    Raises:
        ModelError: the weights do not fit the plan.
    """
    architecture = plan.architecture
    network = build(architecture)
    if plan.weights:
        load_weights(network, weights)
        require_zeros(network, plan)
        return network
    shape = (architecture.channels, architecture.image_size, architecture.image_size)
    slim = rebuild(network, find_groups(network, shape, PruningSection(round_to=1, min_keep=1e-6)), plan)
    load_weights(slim, weights)
    return slim


def save_weights(network: nn.Module, path: Path) -> None:
    """Write the network's tensors as safetensors, whole or not at all."""
    tensors = {name: value.detach().contiguous() for name, value in network.state_dict().items()}
    write_bytes(path, safetensors.torch.save(tensors))


def load_weights(network: nn.Module, path: Path) -> None:
    try:
        tensors = safetensors.torch.load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise StorageError(f"{path}: cannot be read as safetensors ({error})") from error
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"{path}: these weights are not of this network: {reason}") from error
