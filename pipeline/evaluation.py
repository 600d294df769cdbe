"""How well a network classifies a split, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pipeline.data.splits import Split
from pipeline.errors import ConfigError, TrainingError
from pipeline.intervals import wilson_interval
from pipeline.records import Evaluation, SplitName

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(logits, labels) -> scalar: `data.loss`."""
Accuracy = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(logits, labels) -> one value in 0..1 per image: `data.evaluation`."""


def evaluate(
    network: nn.Module,
    split: Split,
    *,
    batch_size: int = 256,
    evaluation: Accuracy | None = None,
    loss: Loss | None = None,
    limit: int | None = None,
) -> Evaluation:
    """Classify a split (its first `limit` images), and leave the network's modes as they were.

    Raises:
        TrainingError: an output or the loss is NaN or infinite.
    """
    outputs, labels = logits(network, split, batch_size=batch_size, limit=limit)
    return evaluation_from_logits(outputs, labels, split.name, evaluation=evaluation, loss=loss)


def logits(
    network: nn.Module, split: Split, *, batch_size: int = 256, limit: int | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The network's outputs (N, classes) in evaluation mode, and the labels (N,), both on the CPU."""
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    outputs, labels = [], []
    try:
        with torch.no_grad():
            for images, targets in split.batches(batch_size, limit=limit):
                outputs.append(network(images.to(device)).cpu())
                labels.append(targets)
    finally:
        for module, training in modes:
            module.training = training
    return torch.cat(outputs), torch.cat(labels)


def evaluation_from_logits(
    outputs: torch.Tensor,
    labels: torch.Tensor,
    split: SplitName,
    *,
    evaluation: Accuracy | None = None,
    loss: Loss | None = None,
) -> Evaluation:
    """The figures of outputs (N, classes) that any runtime computed.

    Raises:
        TrainingError: an output or the loss is NaN or infinite.
        ConfigError: `data.evaluation` or `data.loss` breaks its contract.
    """
    if not torch.isfinite(outputs).all():
        bad = int((~torch.isfinite(outputs)).any(dim=1).sum())
        raise TrainingError(
            f"{split} split: the network's outputs are NaN or infinite for {bad} of {len(outputs)} images; "
            f"its weights or the images are damaged: check the weights file, or lower the learning rate and train again"
        )
    loss_mean = loss_value(loss, outputs, labels).item()
    if not math.isfinite(loss_mean):
        raise TrainingError(f"{split} split: the loss is {loss_mean} though the outputs are finite; correct data.loss")
    top1 = float(correct(outputs, labels, evaluation).mean())
    return Evaluation(
        split=split,
        top1=top1,
        top5=_top5(outputs, labels),
        loss=loss_mean,
        n_images=len(labels),
        ci95=wilson_interval(top1, len(labels)),
    )


def correct(outputs: torch.Tensor, labels: torch.Tensor, evaluation: Accuracy | None = None) -> NDArray[np.float64]:
    """Accuracy of each image: 1 or 0, or what `data.evaluation` says.

    Raises:
        ConfigError: `data.evaluation` gave something else than one value in 0..1 per image.
    """
    if evaluation is None:
        return (outputs.argmax(dim=1) == labels).double().numpy()
    values = torch.as_tensor(evaluation(outputs, labels)).detach().double().cpu()
    if values.shape != labels.shape[:1] or not ((values >= 0) & (values <= 1)).all():
        raise ConfigError(
            f"data.evaluation: gave shape {tuple(values.shape)} for {len(labels)} images; "
            f"it must give one value in 0..1 per image"
        )
    return values.numpy()


def loss_value(loss: Loss | None, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean loss of a batch, by cross-entropy or `data.loss`.

    Raises:
        ConfigError: `data.loss` gave something else than one number in a tensor.
    """
    if loss is None:
        return nn.functional.cross_entropy(outputs, labels)
    value = loss(outputs, labels)
    if not isinstance(value, torch.Tensor) or value.ndim != 0:
        given = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
        raise ConfigError(f"data.loss: gave {given}; it must give a tensor of shape () (the mean over the batch)")
    return value


def _top5(outputs: torch.Tensor, labels: torch.Tensor) -> float | None:
    if outputs.shape[1] <= 5:
        return None
    return float((outputs.topk(5, dim=1).indices == labels[:, None]).any(dim=1).double().mean())
