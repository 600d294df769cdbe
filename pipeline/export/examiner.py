"""Looks at an exported file from outside: does it agree with torch, how well does it classify, what must it give."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from device_bench.modelfile import fingerprint
from device_bench.sidecar import Answers, Golden, Sidecar, SidecarAccuracy, TensorData, sidecar_path
from pipeline.data.splits import DataSet, Split, images_sha256
from pipeline.errors import ExportError, TrainingError
from pipeline.evaluation import Accuracy, Loss, correct, evaluation_from_logits
from pipeline.evaluation import logits as torch_logits
from pipeline.export.parity import MIN_IMAGES, computed_in, judge, not_checked
from pipeline.records import Artifact, Evaluation, Parity, ParityMethod
from pipeline.run_folder import write_json

PARITY_IMAGES = 1000
"""At most; one point of accuracy means something on a few hundred."""
GOLDEN_IMAGES = 2
GOLDEN_MAX_REL_ERROR = {"fp32": 1e-3, "fp16": 3e-2, "int8": 1e-1, "dynamic": 1e-1, "palette6": 3e-2}
"""What another processor's kernels may differ by: they sum in another order, in fp16, or round a quantum apart."""

BATCH = 64
Kind = Literal["tflite", "coreml"]
LAYOUTS: dict[Kind, str] = {"tflite": "NHWC", "coreml": "NCHW"}

Images = NDArray[np.float32]
Run = Callable[[Images], Images]
"""What a file computes: images (N, C, H, W) -> logits (N, classes).

It raises ExportError where the file cannot be run, NotCheckedError where nothing here can run it.
"""


class NotCheckedError(Exception):
    """Nothing is known against the file; it just cannot be run here."""


class Examiner:
    """Holds torch's logits on the images that every file of one network is compared on.

    Args:
        evaluation, loss: `data.evaluation` and `data.loss`, where they are the user's own.
    """

    def __init__(self, network: nn.Module, data: DataSet, evaluation: Accuracy | None, loss: Loss | None) -> None:
        self._data = data
        self._evaluation = evaluation
        self._loss = loss
        # Validation images, filled up from training where they are too few: agreement needs no unseen images.
        self._sources: list[tuple[Split, int]] = [(data.validation, PARITY_IMAGES)]
        if len(data.validation) < MIN_IMAGES:
            self._sources.append((data.train, MIN_IMAGES - len(data.validation)))
        parts = [torch_logits(network, split, limit=limit) for split, limit in self._sources]
        self.reference = torch.cat([logits for logits, _ in parts])
        self._labels = torch.cat([labels for _, labels in parts])
        asked = images_sha256(data.test) + (getattr(evaluation, "__qualname__", "own") if evaluation else "top-1")
        self._asked = hashlib.sha256(asked.encode()).hexdigest()

    def first_images(self, count: int) -> Images:
        """The first images that files are compared on. (count, C, H, W)"""
        batches = itertools.chain.from_iterable(split.batches(count, limit=limit) for split, limit in self._sources)
        images = torch.cat([images for images, _ in itertools.islice(batches, 2)])[:count]
        return images.contiguous().numpy()

    def examine(
        self,
        path: Path,
        variant: str,
        kind: Kind,
        precision: str,
        method: ParityMethod,
        run: Run,
    ) -> Artifact:
        """Compare, evaluate on the test split, and write the sidecar; a file that fails is marked, never an error."""
        missing = {}
        parity = self._parity(precision, method, run)
        evaluation: Evaluation | None = None
        answers: Answers | None = None
        if parity.n:
            try:
                evaluation, answers = self._evaluate(run)
            except (ExportError, TrainingError) as error:
                missing["evaluation"] = str(error)
        else:
            missing["evaluation"] = parity.reason or "not checked"
        sha256, size_bytes = fingerprint(path)
        folder = path.parent.name.removesuffix(".partial")
        artifact = Artifact(
            variant=variant,
            format=kind,
            precision=precision,
            path=f"{folder}/{path.name}",
            sha256=sha256,
            size_bytes=size_bytes,
            evaluation=evaluation,
            parity=parity,
            missing=missing,
        )
        golden = self._golden(kind, precision, run) if evaluation else None
        write_json(sidecar_path(path), self._sidecar(artifact, answers, golden))
        return artifact

    def _parity(self, precision: str, method: ParityMethod, run: Run) -> Parity:
        try:
            logits = torch.cat([_run(run, split, limit) for split, limit in self._sources])
        except NotCheckedError as error:
            return not_checked(method, f"not checked: {error}")
        except ExportError as error:
            return not_checked(method, str(error)).model_copy(update={"passed": False})
        return judge(precision, method, logits, self.reference, self._labels, self._evaluation)

    def _evaluate(self, run: Run) -> tuple[Evaluation, Answers | None]:
        """The test split's figures, and which images are right; None where the user's own accuracy has shades."""
        split = self._data.test
        labels = torch.from_numpy(split.labels)
        logits = _run(run, split)
        figures = evaluation_from_logits(logits, labels, split.name, evaluation=self._evaluation, loss=self._loss)
        values = correct(logits, labels, self._evaluation)
        whole = bool(np.isin(values, (0.0, 1.0)).all())
        return figures, Answers.from_array(self._asked, values == 1.0) if whole else None

    def _golden(self, kind: Kind, precision: str, run: Run) -> Golden:
        images = self.first_images(GOLDEN_IMAGES)
        laid_out = nhwc if kind == "tflite" else np.ascontiguousarray
        return Golden(
            inputs=tuple(TensorData.from_array(laid_out(image[None])) for image in images),
            outputs=tuple(TensorData.from_array(run(image[None])) for image in images),
            max_rel_error=GOLDEN_MAX_REL_ERROR[computed_in(precision)],
        )

    def _sidecar(self, artifact: Artifact, answers: Answers | None, golden: Golden | None) -> Sidecar:
        accuracy = None
        if figures := artifact.evaluation:
            accuracy = SidecarAccuracy(
                top1=figures.top1, top5=figures.top5, n=figures.n_images, split=figures.split, answers=answers
            )
        return Sidecar(
            sha256=artifact.sha256,
            format=artifact.format,
            precision=artifact.precision,
            accuracy=accuracy,
            preprocessing=self._data.preprocessing.model_dump() | {"layout": LAYOUTS[artifact.format]},
            parity=artifact.parity.model_dump(),
            golden=golden,
        )


def nhwc(images: Images) -> Images:
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1))


def _run(run: Run, split: Split, limit: int | None = None) -> torch.Tensor:
    batches: Iterator[tuple[torch.Tensor, torch.Tensor]] = split.batches(BATCH, limit=limit)
    return torch.cat([torch.from_numpy(run(images.contiguous().numpy())) for images, _ in batches])
