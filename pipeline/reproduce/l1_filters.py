"""Filters of small L1 norm, one layer at a time, as 002_87b8c24d6cc31293 removes them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import nn

from pipeline.config import PruningSection
from pipeline.pruning.channels import make_plan, rebuild
from pipeline.pruning.groups import find_groups
from pipeline.subject import Subject

NORM_POINTS = 33


def without_weakest_filters(subject: Subject, network: nn.Module, name: str, keep: int) -> nn.Module:
    """A copy of the network without all but the `keep` filters of largest L1 norm in one layer, and what follows them.

    The norm is the layer's own, of the weights as they are now. (The importance `l1` of a run adds that of the
    depthwise convolution behind it, which the paper leaves alone.)
    """
    groups = find_groups(network, subject.input_shape, PruningSection(round_to=1, min_keep=1e-6))
    group = next(group for group in groups if group.name == name)
    scores = {name: filter_norms(network.get_submodule(name))}
    plan = make_plan(subject.architecture, [group], {name: keep}, scores, {})
    return rebuild(network, [group], plan).eval()


def filter_norms(layer: nn.Module) -> NDArray[np.float64]:
    """Sum of absolute weights of each filter: (C_out, C_in, K_h, K_w) -> (C_out,)."""
    norms: NDArray[np.float64] = layer.get_parameter("weight").detach().double().abs().flatten(1).sum(dim=1).numpy()
    return norms


def norm_quantiles(layer: nn.Module) -> list[float]:
    """The norms of a layer's filters from the smallest to the largest, at `NORM_POINTS` points in every layer."""
    return [round(float(value), 5) for value in np.quantile(filter_norms(layer), np.linspace(0, 1, NORM_POINTS))]
