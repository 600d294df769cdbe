"""Dense networks with statistics and scales that are not those of a fresh network, so that every term counts."""

import copy
import functools

import torch
from torch import nn

import models
from pipeline.config import PruningSection
from pipeline.pruning.groups import ChannelGroup, find_groups
from tests.small import OPTIONS

SHAPE = (3, 64, 64)
CLASSES = 10
FREE = PruningSection(round_to=1, min_keep=0.05)


@functools.cache
def dense(name: str) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = models.load(name, num_classes=CLASSES, options=OPTIONS[name], image_size=SHAPE[1]).eval()
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.running_mean.normal_(std=0.2)
                layer.running_var.uniform_(0.5, 2.0)
                nn.init.uniform_(layer.weight, 0.5, 1.5)
                nn.init.normal_(layer.bias, std=0.3)
    return network


@functools.cache
def dense_groups(name: str) -> tuple[ChannelGroup, ...]:
    return find_groups(dense(name), SHAPE, FREE)


def copy_of(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    return copy.deepcopy(network).to(dtype)
