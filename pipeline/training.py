"""Training from random weights, and fine-tuning after pruning: SGD with a warm-up and a cosine, epoch by epoch."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from pipeline.checkpoint import Checkpoint, digest_of
from pipeline.config import BaselineSection, FinetuneSection
from pipeline.data.splits import DataSet
from pipeline.errors import ConfigError, DataError, TrainingError
from pipeline.evaluation import Loss, loss_value
from pipeline.records import Record

WARMUP_SHARE = 0.1
"""Share of the training during which the learning rate rises from zero."""
MOMENTUM = 0.9

Settings = BaselineSection | FinetuneSection
Objective = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""(images, logits, labels) -> the scalar that is minimised."""
Held = tuple[nn.Parameter, torch.Tensor]
"""A parameter, and where it stays zero (bool, of its shape)."""


class EpochReport(Record):
    epoch: int
    """Counted from 1."""
    epochs: int
    loss: float
    """Mean of what was minimised, over the epoch's training images as they were seen (augmented)."""
    top1: float
    """Training accuracy over the same images, while the weights moved."""
    learning_rate: float
    """At the last step."""
    seconds: float


def fit(
    network: nn.Module,
    data: DataSet,
    settings: Settings,
    *,
    seed: int,
    teacher: nn.Module | None = None,
    loss: Loss | None = None,
    hold: Mapping[str, torch.Tensor] | None = None,
    checkpoint: Path | None = None,
    on_epoch: Callable[[EpochReport], None] | None = None,
) -> list[EpochReport]:
    """Train a network in place on the training split, on the device that it lies on.

    Equal arguments give equal weights, to the last bit on one machine; torch's random state is left as it was.

    Args:
        teacher: the dense network; needed where `settings.distill` is above 0.
        loss: `data.loss`; None is cross-entropy.
        hold: masks by parameter name (of the parameter's shape): where True, the parameter is zero before the first
            step and after every one. What momentum gathers there never reaches it.
        checkpoint: written after each epoch. Where it already holds this very fit, that is continued and ends with
            the same weights as if it had never stopped; anything else there is replaced, with a warning.
        on_epoch: called after each epoch, when its checkpoint is on the disk.

    Raises:
        TrainingError: the loss became NaN or infinite.
        ConfigError: the settings cannot work with each other or with the data.
        StorageError: the checkpoint cannot be written.
    """
    _check(data, settings, teacher, loss)
    held = _held(network, hold or {})
    _zero(held)
    objective = _objective(settings, teacher, loss)
    optimizer = _optimizer(network, settings)
    optimizer.register_step_post_hook(lambda *_: _zero(held))
    store = (
        Checkpoint(checkpoint, _identity(network, data, settings, seed, teacher, loss, held)) if checkpoint else None
    )
    done = store.restore(network, optimizer) if store else []
    reports = [EpochReport.model_validate(report) for report in done]
    with _training_mode(network, teacher):
        for epoch in range(len(reports), settings.epochs):
            report = _run_epoch(network, data, settings, objective, optimizer, epoch, seed)
            reports.append(report)
            if store:
                store.save(network, optimizer, [report.model_dump() for report in reports])
            if on_epoch:
                on_epoch(report)
    return reports


def recalibrate_batchnorm(network: nn.Module, batches: Iterable[torch.Tensor]) -> None:
    """Replace batch norm's running statistics by the average over these batches of normalised images.

    Every batch counts alike, whatever its size. The weights, the other layers and all modes stay as they were.
    """
    norms = [
        module
        for module in network.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats
    ]
    if not norms:
        return
    batches = iter(batches)
    first = next(batches, None)
    if first is None:
        raise ValueError("no batches: batch norm's statistics need at least one")
    modes = [(module, module.training) for module in network.modules()]
    momenta = [module.momentum for module in norms]
    network.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's way to ask for the plain average over the batches
        norm.train()
    try:
        with torch.no_grad():
            network(first)
            for images in batches:
                network(images)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for module, training in modes:
            module.training = training


def learning_rate(progress: float, peak: float) -> float:
    """Linear warm-up, then half a cosine down to zero (Loshchilov and Hutter 2017, without restarts).

    Args:
        progress: share of the training that is done, 0..1.
    """
    if progress < WARMUP_SHARE:
        return peak * progress / WARMUP_SHARE
    return peak * 0.5 * (1 + math.cos(math.pi * (progress - WARMUP_SHARE) / (1 - WARMUP_SHARE)))


def _held(network: nn.Module, hold: Mapping[str, torch.Tensor]) -> list[Held]:
    parameters = dict(network.named_parameters())
    for name, mask in hold.items():
        if name not in parameters or parameters[name].shape != mask.shape:
            own = tuple(parameters[name].shape) if name in parameters else "no such parameter"
            raise ValueError(f"hold: {name} {tuple(mask.shape)}: the network has {own}; take zeros_of this network")
    return [(parameters[name], mask.to(parameters[name].device)) for name, mask in hold.items()]


@torch.no_grad()
def _zero(held: list[Held]) -> None:
    for parameter, mask in held:
        parameter.masked_fill_(mask, 0.0)


def _section(settings: Settings) -> str:
    return "baseline" if isinstance(settings, BaselineSection) else "finetune"


def _check(data: DataSet, settings: Settings, teacher: nn.Module | None, loss: Loss | None) -> None:
    if settings.batch_size < 2:
        raise ConfigError(f"{_section(settings)}.batch_size: 1 is too small for batch norm; set it to 2 or more")
    if len(data.train) < 2:
        raise DataError(f"{data.name}: the training split has {len(data.train)} image; batch norm needs 2 or more")
    if isinstance(settings, BaselineSection):
        if loss is not None and settings.label_smoothing:
            raise ConfigError("baseline.label_smoothing works on cross-entropy alone: set it to 0 or remove data.loss")
    elif settings.distill and teacher is None:
        raise ConfigError(f"finetune.distill: {settings.distill} needs the dense network to learn from; set it to 0")


def _identity(
    network: nn.Module,
    data: DataSet,
    settings: Settings,
    seed: int,
    teacher: nn.Module | None,
    loss: Loss | None,
    held: list[Held],
) -> str:
    """What tells this training from another: all that its result depends on."""
    parts = [
        f"{_section(settings)} {settings.model_dump_json()} {seed} {data.name} {data.preprocessing.model_dump_json()}",
        hashlib.sha256(data.train.labels.tobytes()).hexdigest(),
        digest_of(network),
        digest_of(teacher) if teacher is not None else "",
        f"{loss.__module__} {getattr(loss, '__qualname__', '')}" if loss is not None else "",
        *(hashlib.sha256(mask.cpu().numpy().tobytes()).hexdigest() for _, mask in held),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _objective(settings: Settings, teacher: nn.Module | None, loss: Loss | None) -> Objective:
    def from_labels(images: torch.Tensor, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        if isinstance(settings, BaselineSection) and settings.label_smoothing:
            return functional.cross_entropy(outputs, labels, label_smoothing=settings.label_smoothing)
        return loss_value(loss, outputs, labels)

    if isinstance(settings, BaselineSection) or teacher is None or settings.distill == 0:
        return from_labels
    share, temperature = settings.distill, settings.temperature

    def distilled(images: torch.Tensor, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            taught = teacher(images)
        return (1 - share) * from_labels(images, outputs, labels) + share * distillation(outputs, taught, temperature)

    return distilled


def distillation(outputs: torch.Tensor, taught: torch.Tensor, temperature: float) -> torch.Tensor:
    """T^2 KL(teacher at T || student at T), mean over images (Hinton, Vinyals and Dean 2015, section 2)."""
    student = functional.log_softmax(outputs / temperature, dim=1)
    target = functional.log_softmax(taught / temperature, dim=1)
    return functional.kl_div(student, target, reduction="batchmean", log_target=True) * temperature**2


def _optimizer(network: nn.Module, settings: Settings) -> torch.optim.SGD:
    """Weight decay on matrices and kernels alone, not on norms and biases (He et al. 2019, section 3.1)."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, lr=settings.learning_rate, momentum=MOMENTUM, nesterov=True)


def _run_epoch(
    network: nn.Module,
    data: DataSet,
    settings: Settings,
    objective: Objective,
    optimizer: torch.optim.SGD,
    epoch: int,
    seed: int,
) -> EpochReport:
    started = time.monotonic()
    device = next(network.parameters()).device
    epoch_seed = int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
    loss_sum, n_correct, seen, rate = 0.0, 0, 0, 0.0
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(epoch_seed)  # dropout
        batches = data.train.batches(settings.batch_size, shuffle_seed=epoch_seed, augment=settings.augment)
        for step, (images, labels) in enumerate(batches):
            if len(labels) < 2:  # batch norm needs two; a user's own split may end so
                continue
            images, labels = images.to(device), labels.to(device)
            progress = (epoch + (seen + len(labels) / 2) / len(data.train)) / settings.epochs
            rate = learning_rate(progress, settings.learning_rate)
            for group in optimizer.param_groups:
                group["lr"] = rate
            outputs = network(images)
            loss = objective(images, outputs, labels)
            loss_now = loss.item()
            if not math.isfinite(loss_now):
                raise _diverged(settings, loss_now, epoch, step, rate)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            loss_sum += loss_now * len(labels)
            n_correct += int((outputs.argmax(dim=1) == labels).sum())
            seen += len(labels)
    return EpochReport(
        epoch=epoch + 1,
        epochs=settings.epochs,
        loss=loss_sum / seen,
        top1=n_correct / seen,
        learning_rate=rate,
        seconds=time.monotonic() - started,
    )


def _diverged(settings: Settings, loss: float, epoch: int, step: int, rate: float) -> TrainingError:
    key = f"{_section(settings)}.learning_rate"
    return TrainingError(
        f"the loss is {loss} in epoch {epoch + 1}, step {step + 1}, at learning rate {rate:.4g}: training diverged; "
        f"lower {key} (now {settings.learning_rate:g}, try {settings.learning_rate / 10:g}); "
        f"if it is so from the first step, look for NaN in the weights, the images or data.loss"
    )


@contextmanager
def _training_mode(network: nn.Module, teacher: nn.Module | None) -> Iterator[None]:
    modes = [(m, m.training) for root in (network, teacher) if root is not None for m in root.modules()]
    network.train()
    if teacher is not None:
        teacher.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
