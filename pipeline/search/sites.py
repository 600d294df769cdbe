"""What is known of a site, the channel group or the layer that one step prunes, before anything is pruned.

The figures are of the dense network: AMC's features of a layer, and what the explainable poster
(000_accc842e532b0134) adds, the largest singular value and the effective rank of its weights. The poster does not say
how a convolution becomes a matrix: here it is one row for each filter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.pruning.costs import NetworkShape
from pipeline.pruning.groups import ChannelGroup

ENERGY = 0.9
"""Share of the sum of the squared singular values that the effective rank holds."""


@dataclass(frozen=True)
class SiteFacts:
    """One site. Its shape and its singular values are those of the first layer that writes it."""

    index: int
    is_conv: bool
    is_fc: bool
    in_channels: int
    """Of one filter: 1 in a depthwise convolution."""
    out_channels: int
    stride: int
    """Rows; 1 for a linear layer."""
    kernel: int
    """Rows of the kernel; 1 for a linear layer."""
    weights: int
    """Of all layers that write it, biases not counted."""
    macs: float
    """Share of the dense network's multiply-accumulates that these layers take."""
    largest_singular_value: float
    effective_rank: float
    """The fewest singular values that hold 90% of the energy, as a share of how many there are."""


def facts_of_groups(network: nn.Module, groups: Sequence[ChannelGroup], shape: NetworkShape) -> tuple[SiteFacts, ...]:
    """One for each channel group, in the order given."""
    writers = [[member.layer for _, member in group.producers(network)] for group in groups]
    return _facts(network, shape, writers)


def facts_of_layers(network: nn.Module, layers: Sequence[str], shape: NetworkShape) -> tuple[SiteFacts, ...]:
    """One for each Conv2d or Linear of these names, in the order given."""
    return _facts(network, shape, [[name] for name in layers])


def _facts(network: nn.Module, shape: NetworkShape, writers: Sequence[Sequence[str]]) -> tuple[SiteFacts, ...]:
    """Args: writers: for each site the layers that write it, in the order in which they run."""
    runs: dict[str, int] = {}
    for row in shape.layers:  # a layer that runs twice has two rows
        runs[row.name] = runs.get(row.name, 0) + row.out_pixels
    dense = shape.macs({})
    facts = []
    for index, names in enumerate(writers):
        first = network.get_submodule(names[0])
        weights = {name: _weight(network.get_submodule(name)) for name in names}
        energies = _energies(weights[names[0]])
        facts.append(
            SiteFacts(
                index=index,
                is_conv=isinstance(first, nn.Conv2d),
                is_fc=isinstance(first, nn.Linear),
                in_channels=weights[names[0]].shape[1],
                out_channels=weights[names[0]].shape[0],
                stride=first.stride[0] if isinstance(first, nn.Conv2d) else 1,
                kernel=first.kernel_size[0] if isinstance(first, nn.Conv2d) else 1,
                weights=sum(weight.numel() for weight in weights.values()),
                macs=sum(weight.numel() * runs[name] for name, weight in weights.items()) / dense,
                largest_singular_value=float(np.sqrt(energies[0])),
                effective_rank=effective_rank(energies),
            )
        )
    return tuple(facts)


def effective_rank(energies: NDArray[np.float64]) -> float:
    """The share of the squared singular values (descending) that hold `ENERGY` of their sum; 0 if all are zero."""
    total = energies.sum()
    if total == 0.0:
        return 0.0
    # Rounding must not ask for one more where a sum meets the share exactly.
    held = np.cumsum(energies) / total >= ENERGY - 1e-9
    return float(1 + np.argmax(held)) / len(energies)


def _weight(layer: nn.Module) -> Tensor:
    """(C_out, C_in, K_h, K_w), or (C_out, C_in) of a linear layer."""
    assert isinstance(layer, nn.Conv2d | nn.Linear)
    return layer.weight.detach()


def _energies(weight: Tensor) -> NDArray[np.float64]:
    """Squared singular values, descending, of (C_out, C_in K_h K_w).

    They are the eigenvalues of the smaller of its two Gram matrices, which takes a tenth of the time.
    """
    matrix = weight.flatten(1).double()
    gram = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    values: NDArray[np.float64] = torch.linalg.eigvalsh(gram).numpy()
    return values.clip(min=0.0)[::-1]
