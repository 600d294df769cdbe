"""What the weights of a layer look like before and after pruning: mean, gap, modality, histogram."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import nn

from pipeline.pruning.weights import WeightLayer, kept_by_sigma

BIMODAL = 5 / 9
"""Sarle's coefficient of a uniform distribution: above it a distribution is taken for bimodal."""
BINS = 60
RANGE = 4.0
"""Histograms span so many standard deviations of the dense layer to each side."""
FEWEST = 4
"""Weights that the coefficient needs."""


def alpha_for(network: nn.Module, layers: Sequence[WeightLayer], sparsity: float) -> tuple[float, dict[str, int]]:
    """The alpha of PuRL's equation 2, one for all layers, that prunes this share of all weights; what each layer keeps.

    It is a quantile of |w| / sigma(w) over all weights: where a bisection over alpha ends.
    """
    magnitudes = torch.cat([_in_sigmas(network, layer.name).flatten() for layer in layers])
    alpha = float(magnitudes.kthvalue(max(1, round(sparsity * len(magnitudes)) + 1)).values)
    return alpha, {layer.name: kept_by_sigma(_weight(network, layer.name), alpha) for layer in layers}


def describe(
    network: nn.Module, dense: nn.Module, layers: Iterable[WeightLayer], alpha: float, drawn: Sequence[int]
) -> list[dict[str, Any]]:
    """Each layer's weights, those that are zero left out.

    `in_gap` is the share of them below alpha standard deviations of the dense layer: the gap that pruning makes.

    Args:
        drawn: the numbers, counted from 1, of the layers whose histogram is wanted.
    """
    described = []
    for number, layer in enumerate(layers, 1):
        left = _left(network, layer.name)
        sigma = float(_weight(dense, layer.name).double().std(correction=0))
        coefficient = bimodality(left)
        one: dict[str, Any] = {
            "layer": layer.name,
            "size": layer.size,
            "left": len(left),
            "mean": float(left.mean()),
            "in_gap": float((np.abs(left) < alpha * sigma).mean()),
            "bimodality": coefficient,
            "bimodal": coefficient is not None and coefficient > BIMODAL,
        }
        if number in drawn:
            ends = (-RANGE * sigma, RANGE * sigma)
            one |= {"sigma": sigma, "range": ends, "histogram": np.histogram(left, BINS, ends)[0].tolist()}
        described.append(one)
    return described


def bimodality(values: NDArray[np.float64]) -> float | None:
    """Sarle's coefficient (g^2 + 1) / (k + 3 (n - 1)^2 / ((n - 2) (n - 3))), g and k the unbiased skewness and excess.

    1 is two points, 5/9 a uniform distribution, 1/3 a normal one. None of fewer than four values, or of equal ones.
    """
    n = len(values)
    if n < FEWEST or np.ptp(values) == 0:
        return None
    skewness, excess = stats.skew(values, bias=False), stats.kurtosis(values, bias=False)
    return float((skewness**2 + 1) / (excess + 3 * (n - 1) ** 2 / ((n - 2) * (n - 3))))


def over_all_layers(described: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Mean and share in the gap over the weights of all layers; the median coefficient, and how many are bimodal."""
    left = np.array([one["left"] for one in described], dtype=np.float64)
    known = np.array([one["bimodality"] for one in described if one["bimodality"] is not None])
    return {
        "mean": float(left @ [one["mean"] for one in described] / left.sum()),
        "in_gap": float(left @ [one["in_gap"] for one in described] / left.sum()),
        "bimodality": float(np.median(known)),
        "bimodal": float((known > BIMODAL).mean()),
    }


def _weight(network: nn.Module, name: str) -> torch.Tensor:
    return network.get_submodule(name).get_parameter("weight").detach()


def _in_sigmas(network: nn.Module, name: str) -> torch.Tensor:
    values = _weight(network, name).double()
    return values.abs() / values.std(correction=0)


def _left(network: nn.Module, name: str) -> NDArray[np.float64]:
    """The weights that are not zero, flat."""
    values: NDArray[np.float64] = _weight(network, name).double().numpy().ravel()
    left: NDArray[np.float64] = values[values != 0]
    return left
