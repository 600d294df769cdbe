"""EfficientNet-B2 (Tan and Le 2019), by torchvision."""

from __future__ import annotations

import torchvision
from torch import nn

MIN_IMAGE_SIZE = 32
"""The image is halved five times."""
IMAGENET = torchvision.models.EfficientNet_B2_Weights.IMAGENET1K_V1


def build(num_classes: int, *, dropout: float = 0.3) -> nn.Module:
    network: nn.Module = torchvision.models.efficientnet_b2(num_classes=num_classes, dropout=dropout)
    return network
