"""Whether an exported file still computes what the torch network computes, on real images."""

from __future__ import annotations

import torch

from pipeline.evaluation import Accuracy, correct
from pipeline.records import Parity, ParityMethod

MIN_IMAGES = 64
MAX_REL_ERROR = 1e-4
"""fp32: largest logit difference over the largest logit."""
MIN_AGREEMENT = 0.99
"""fp16: share of the images that get the same class."""
MAX_ACCURACY_LOSS = 0.01
"""Everything with fewer bits: share of the images that it may classify worse."""


def computed_in(precision: str) -> str:
    """The precision that a file computes in: leaving zeros out of it changes no value."""
    return precision.removesuffix("-sparse")


def judge(
    precision: str,
    method: ParityMethod,
    logits: torch.Tensor,
    reference: torch.Tensor,
    labels: torch.Tensor,
    accuracy: Accuracy | None = None,
) -> Parity:
    """Hold a file's logits (N, classes) against torch's by the gate of its precision.

    Args:
        precision: fp32 and fp16, sparse or not, have gates of their own, all others that of accuracy.
        method: what computed `logits`.
        labels: (N,)
        accuracy: `data.evaluation`, where accuracy is not top-1.
    """
    if logits.shape != reference.shape or not torch.isfinite(logits).all():
        wrong = f"shape {tuple(logits.shape)}" if logits.shape != reference.shape else "NaN or infinite values"
        reason: str | None = f"it gives {wrong} where torch gives finite values of shape {tuple(reference.shape)}"
        return Parity(
            method=method, max_rel_error=None, top1_agreement=None, n=len(reference), passed=False, reason=reason
        )
    error = max_rel_error(logits, reference)
    agreement = float((logits.argmax(1) == reference.argmax(1)).double().mean())
    reason = _failure(precision, error, agreement, _accuracy_loss(logits, reference, labels, accuracy))
    return Parity(
        method=method,
        max_rel_error=error,
        top1_agreement=agreement,
        n=len(reference),
        passed=reason is None,
        reason=reason,
    )


def not_checked(method: ParityMethod | None, reason: str) -> Parity:
    return Parity(method=method, max_rel_error=None, top1_agreement=None, n=0, passed=None, reason=reason)


def max_rel_error(logits: torch.Tensor, reference: torch.Tensor) -> float:
    """Largest absolute difference over the largest absolute reference value."""
    scale = float(reference.abs().max())
    return float((logits - reference).abs().max()) / (scale or 1.0)


def _accuracy_loss(
    logits: torch.Tensor, reference: torch.Tensor, labels: torch.Tensor, accuracy: Accuracy | None
) -> float:
    return float(correct(reference, labels, accuracy).mean() - correct(logits, labels, accuracy).mean())


def _failure(precision: str, error: float, agreement: float, loss: float) -> str | None:
    precision = computed_in(precision)
    if precision == "fp32":
        if error > MAX_REL_ERROR:
            return f"logits differ by {error:.2g} of the largest; at most {MAX_REL_ERROR:g} is allowed"
    elif precision == "fp16":
        if agreement < MIN_AGREEMENT:
            return f"the same class for {agreement:.1%} of the images; at least {MIN_AGREEMENT:.0%} is needed"
    elif loss > MAX_ACCURACY_LOSS + 1e-9:  # 1 of 100 images is one point, whatever the floats say
        return f"{100 * loss:.1f} points of accuracy lost; at most {100 * MAX_ACCURACY_LOSS:g} is allowed"
    return None
