"""MobileNetV1 (Howard et al. 2017, Table 1), with batch norm and ReLU after every convolution."""

from __future__ import annotations

import torch
from torch import nn

MIN_IMAGE_SIZE = 32
"""The image is halved five times."""
IMAGENET = None
"""torchvision has no weights for this network."""

# (channels out, stride) of each depthwise-separable block
BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))


class MobileNetV1(nn.Module):
    def __init__(self, num_classes: int, width: float, dropout: float) -> None:
        super().__init__()
        channels = scaled(32, width)
        layers = [convolution(3, channels, kernel_size=3, stride=2)]
        for out_channels, stride in BLOCKS:
            out_channels = scaled(out_channels, width)
            layers.append(convolution(channels, channels, kernel_size=3, stride=stride, groups=channels))
            layers.append(convolution(channels, out_channels, kernel_size=1))
            channels = out_channels
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(channels, num_classes))
        self.apply(_initialise)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.pool(self.features(images))  # (N, C, 1, 1)
        logits: torch.Tensor = self.classifier(torch.flatten(features, 1))
        return logits


def build(num_classes: int, *, width: float = 1.0, dropout: float = 0.001) -> nn.Module:
    """Args: width: every layer's channels are multiplied by it and rounded to a multiple of 8."""
    return MobileNetV1(num_classes, width, dropout)


def scaled(channels: int, width: float) -> int:
    """`channels * width`, rounded to the nearest multiple of 8, at least 8."""
    return max(8, int(channels * width + 4) // 8 * 8)


def convolution(
    in_channels: int, out_channels: int, *, kernel_size: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


def _initialise(module: nn.Module) -> None:
    """As torchvision's MobileNetV2 does: random signs and sizes that keep the variance from layer to layer."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out")
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, 0, 0.01)
        nn.init.zeros_(module.bias)
