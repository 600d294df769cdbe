"""ResNet-18 (He et al. 2015), by torchvision."""

from __future__ import annotations

import torchvision
from torch import nn

MIN_IMAGE_SIZE = 32
"""The image is halved five times."""
IMAGENET = torchvision.models.ResNet18_Weights.IMAGENET1K_V1


def build(num_classes: int) -> nn.Module:
    network: nn.Module = torchvision.models.resnet18(num_classes=num_classes)
    return network
