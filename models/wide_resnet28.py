"""WideResNet-28-k for images of 32 pixels (Zagoruyko and Komodakis 2016, Table 1 with N = 4 and blocks B(3, 3))."""

from __future__ import annotations

import torch
from torch import nn

from models.errors import OptionError

MIN_IMAGE_SIZE = 32
"""What the paper's networks take; the image is halved twice."""
IMAGENET = None
"""torchvision has no weights for this network."""

BLOCKS_PER_STAGE = 4
STAGES = ((16, 1), (32, 2), (64, 2))
"""(channels before widening, stride of the first block) of each stage."""


class Block(nn.Module):
    """Two 3x3 convolutions, each after batch norm and ReLU, added to what came in.

    Where the shape changes, a 1x1 convolution of the activated input takes the place of the input (He et al. 2016).
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        same = stride == 1 and in_channels == out_channels
        self.shortcut = None if same else nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        active = torch.relu(self.norm1(x))
        branch = torch.relu(self.norm2(self.conv1(active)))
        branch = self.conv2(self.dropout(branch))
        result: torch.Tensor = branch + (x if self.shortcut is None else self.shortcut(active))
        return result


class WideResNet28(nn.Module):
    def __init__(self, num_classes: int, width: int, dropout: float) -> None:
        super().__init__()
        channels = STAGES[0][0]
        self.stem = nn.Conv2d(3, channels, 3, 1, 1, bias=False)
        blocks = []
        for base, first_stride in STAGES:
            for index in range(BLOCKS_PER_STAGE):
                blocks.append(Block(channels, base * width, first_stride if index == 0 else 1, dropout))
                channels = base * width
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.BatchNorm2d(channels)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, num_classes)
        self.apply(_initialise)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = torch.relu(self.norm(self.blocks(self.stem(images))))
        logits: torch.Tensor = self.classifier(torch.flatten(self.pool(features), 1))
        return logits


def build(num_classes: int, *, width: int = 10, dropout: float = 0.0) -> nn.Module:
    """Args: width: the paper's k, a whole number. dropout: between a block's convolutions; the paper tries 0.3."""
    if width < 1:
        raise OptionError(f"width {width}: wide_resnet28 is at least 1 wide, and 10 in the paper's WRN-28-10")
    return WideResNet28(num_classes, width, dropout)


def _initialise(module: nn.Module) -> None:
    """As the authors' code does (He et al. 2015 by outgoing connections); linear weights are torch's."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
