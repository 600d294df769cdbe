"""A pruned network, rebuilt and briefly recovered: what the end of an episode and the finalists are judged by."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from torch import nn

from pipeline.config import FinetuneSection
from pipeline.data.splits import take
from pipeline.pruning.channels import make_plan
from pipeline.records import Evaluation, PruningPlan
from pipeline.subject import Subject
from pipeline.training import fit, recalibrate_batchnorm

RECALIBRATION_BATCH = 128
RETRAINED = {"epochs", "batch_size", "learning_rate", "distill"}
"""Keys of `search.recover` that are those of a fine-tuning."""


class Recovery:
    """Turns channel counts into a recovered network and its accuracy on the validation split."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._settings = subject.config.search.recover
        images = min(self._settings.images, len(subject.data.train))
        self._images = take(subject.data.train, images, subject.config.seed)

    def plan(self, keep_counts: Mapping[str, int], **provenance: object) -> PruningPlan:
        subject = self._subject
        return make_plan(subject.architecture, subject.groups, keep_counts, subject.scores, provenance)

    def evaluate(self, keep_counts: Mapping[str, int]) -> Evaluation:
        """Rebuild, recover as configured, evaluate on the whole validation split."""
        slim = self._subject.slim(self.plan(keep_counts))
        if self._settings.kind == "retrain":
            self._retrain(slim)
        else:
            recalibrate_batchnorm(slim, (batch for batch, _ in self._images.batches(RECALIBRATION_BATCH)))
        return self._subject.evaluate(slim, self._subject.data.validation)

    def fine_tuned(self, keep_counts: Mapping[str, int]) -> Evaluation:
        """Rebuild, fine-tune as the winner will be but for fewer epochs, evaluate on the validation split."""
        config = self._subject.config
        slim = self._subject.slim(self.plan(keep_counts))
        self._subject.fit(slim, config.finetune.model_copy(update={"epochs": config.search.finalist_epochs}))
        return self._subject.evaluate(slim, self._subject.data.validation)

    def _retrain(self, slim: nn.Module) -> None:
        few = dataclasses.replace(self._subject.data, train=self._images)
        kept = FinetuneSection(**self._settings.model_dump(include=RETRAINED))
        teacher = self._subject.network if kept.distill else None
        fit(slim, few, kept, seed=self._subject.config.seed, teacher=teacher, loss=self._subject.loss)
