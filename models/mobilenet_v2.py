"""MobileNetV2 (Sandler et al. 2018), by torchvision."""

from __future__ import annotations

import torchvision
from torch import nn

MIN_IMAGE_SIZE = 32
"""The image is halved five times."""
IMAGENET = torchvision.models.MobileNet_V2_Weights.IMAGENET1K_V1


def build(num_classes: int, *, width: float = 1.0, dropout: float = 0.2) -> nn.Module:
    """Args: width: every layer's channels are multiplied by it and rounded to a multiple of 8."""
    network: nn.Module = torchvision.models.mobilenet_v2(num_classes=num_classes, width_mult=width, dropout=dropout)
    return network
