"""EfficientNet-B2 (Tan and Le 2019), of torchvision's blocks; at width 1 it is torchvision's network."""

from __future__ import annotations

import torchvision
from torch import nn
from torchvision.models.efficientnet import EfficientNet, MBConvConfig

MIN_IMAGE_SIZE = 32
"""The image is halved five times."""
IMAGENET = torchvision.models.EfficientNet_B2_Weights.IMAGENET1K_V1

B2_WIDTH, B2_DEPTH = 1.1, 1.2
"""What makes B2 of B0: factors of the channels and of the blocks in a stage."""

# (expansion, kernel, stride, channels in, channels out, blocks) of each stage of B0: the paper's Table 1
STAGES = (
    (1, 3, 1, 32, 16, 1),
    (6, 3, 2, 16, 24, 2),
    (6, 5, 2, 24, 40, 2),
    (6, 3, 2, 40, 80, 3),
    (6, 5, 1, 80, 112, 3),
    (6, 5, 2, 112, 192, 4),
    (6, 3, 1, 192, 320, 1),
)


def build(num_classes: int, *, width: float = 1.0, dropout: float = 0.3) -> nn.Module:
    """Args: width: every layer's channels are multiplied by it and rounded to a multiple of 8."""
    stages = [MBConvConfig(*stage, width_mult=B2_WIDTH * width, depth_mult=B2_DEPTH) for stage in STAGES]
    network: nn.Module = EfficientNet(stages, dropout, num_classes=num_classes)
    return network
