"""Weight pruning as PuRL does it: layer by layer by magnitude, retrained after each layer on a few images."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

from pipeline.config import FinetuneSection
from pipeline.data.splits import Split, take
from pipeline.errors import TrainingError
from pipeline.pruning.weights import WeightLayer, kept_by_share, kept_by_sigma, strongest_weights, zeros_of
from pipeline.records import Evaluation
from pipeline.search.recovery import RECALIBRATION_BATCH, RETRAINED
from pipeline.subject import Subject
from pipeline.training import fit, recalibrate_batchnorm


class WeightPruner:
    """An amount is a multiple of the layer's standard deviation, or a share of its weights: `pruning.threshold`.

    What a layer loses is decided on its weights as they are when its turn comes: retrained after the layers before.
    Weights that are zero already (of an earlier round) stay zero, and are never counted as kept.
    """

    judges_whole_plans = False

    def __init__(self, subject: Subject, network: nn.Module, layers: Sequence[WeightLayer]) -> None:
        """Args: network: where every episode starts from; it is left as it is."""
        self._subject = subject
        self._start = network
        self._network = network
        self._layers = layers
        config, data = subject.config, subject.data
        self._settings = config.search.recover
        self._by_sigma = config.pruning.threshold == "sigma"
        self._images = take(data.train, min(self._settings.images, len(data.train)), config.seed)
        self._judged = take(data.validation, min(config.search.judge_images, len(data.validation)), config.seed)
        self._episode = 0

    @property
    def network(self) -> nn.Module:
        """As the last step left it."""
        return self._network

    def begin(self, episode: int) -> None:
        self._network = copy.deepcopy(self._start)
        self._episode = episode

    def kept_by(self, number: int, amount: float) -> int:
        weight = self._weight(number)
        return kept_by_sigma(weight, amount) if self._by_sigma else kept_by_share(weight, amount)

    def prune(self, number: int, kept: int) -> Evaluation:
        self._zero(number, kept)
        return self._recovered(number, self._judged, retrain=self._settings.each_step)

    def finish(self, kept: Mapping[str, int]) -> Evaluation:
        last = len(self._layers) - 1
        self._zero(last, kept[self._layers[last].name])
        return self._recovered(last, self._subject.data.validation, retrain=True)

    @torch.no_grad()
    def _zero(self, number: int, kept: int) -> None:
        weight = self._weight(number)
        weight.mul_(strongest_weights(weight, kept))

    def _recovered(self, number: int, split: Split, *, retrain: bool) -> Evaluation:
        """Retrain, or recalibrate batch norm, and judge.

        A retraining that diverges is undone, and batch norm recalibrated: a network of which next to nothing is left is
        a bad plan, and no reason to end the search.
        """
        if retrain and self._settings.kind == "retrain":
            before = copy.deepcopy(self._network.state_dict())
            try:
                self._retrain(number)
                return self._subject.evaluate(self._network, split)
            except TrainingError:
                self._network.load_state_dict(before)
        recalibrate_batchnorm(self._network, (batch for batch, _ in self._images.batches(RECALIBRATION_BATCH)))
        return self._subject.evaluate(self._network, split)

    def _retrain(self, number: int) -> None:
        subject = self._subject
        few = dataclasses.replace(subject.data, train=self._images)
        training = FinetuneSection(**self._settings.model_dump(include=RETRAINED))
        # Every step draws its own order of images, and the same one when the search is run again.
        seed = int(np.random.SeedSequence([subject.config.seed, self._episode, number]).generate_state(1)[0])
        teacher = subject.network if training.distill else None
        fit(self._network, few, training, seed=seed, teacher=teacher, loss=subject.loss, hold=zeros_of(self._network))

    def _weight(self, number: int) -> torch.Tensor:
        return self._network.get_submodule(self._layers[number].name).get_parameter("weight").detach()
