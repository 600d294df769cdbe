"""ResNet-50 (He et al. 2015), by torchvision."""

from __future__ import annotations

import torchvision
from torch import nn

MIN_IMAGE_SIZE = 32
"""The image is halved five times."""
IMAGENET = torchvision.models.ResNet50_Weights.IMAGENET1K_V1
"""The weights that papers on pruning start from (76.1%); V2's longer recipe is lost again in a short fine-tuning."""


def build(num_classes: int) -> nn.Module:
    network: nn.Module = torchvision.models.resnet50(num_classes=num_classes)
    return network
