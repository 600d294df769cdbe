"""What is lost when one group alone is pseudo-pruned: the loss of the masked network, all others being whole."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn

from pipeline.pruning.channels import Scores, mask_group, strongest
from pipeline.pruning.groups import ChannelGroup

SHARE = 0.5
"""Of its channels, the weakest, that a group loses when it is tried."""


@torch.no_grad()
def losses_alone(
    network: nn.Module,
    groups: Sequence[ChannelGroup],
    scores: Scores,
    images: torch.Tensor,
    loss_of: Callable[[torch.Tensor], float],
) -> dict[str, float]:
    """By how much the loss of these images' outputs rises when half of a group goes, in batch statistics."""
    masked = copy.deepcopy(network).eval()
    for layer in masked.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.train()
            layer.momentum = 0.0  # batch statistics, and the running ones stay as they are
    dense = {name: value.clone() for name, value in masked.state_dict().items()}

    whole, risen = loss_of(masked(images)), {}
    for group in groups:
        stay = strongest(scores[group.name], max(1, round(group.channels * (1.0 - SHARE))))
        mask_group(masked, group, np.setdiff1d(np.arange(group.channels), stay))
        risen[group.name] = loss_of(masked(images)) - whole
        masked.load_state_dict(dense)
    return risen
