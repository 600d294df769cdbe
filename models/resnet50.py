"""ResNet-50 (He et al. 2015), by torchvision; narrower, or for small images, on demand."""

from __future__ import annotations

import torchvision
from torch import nn

from models.mobilenet_v1 import scaled

MIN_IMAGE_SIZE = 32
"""The image is halved five times; three times with `small_images`."""
IMAGENET = torchvision.models.ResNet50_Weights.IMAGENET1K_V1
"""The weights that papers on pruning start from (76.1%); V2's longer recipe is lost again in a short fine-tuning."""


def build(num_classes: int, *, width: float = 1.0, small_images: bool = False) -> nn.Module:
    """Args:

    width: every layer's channels are multiplied by it and rounded to a multiple of 8.
    small_images: the stem is a 3x3 convolution of stride 1 without pooling, as is usual for CIFAR's 32 pixels.
    """
    network: nn.Module = torchvision.models.resnet50(num_classes=num_classes)
    if width != 1.0:
        _scale(network, width)
    if small_images:
        channels = network.get_submodule("conv1").get_parameter("weight").shape[0]
        network.set_submodule("conv1", _initialised(nn.Conv2d(3, channels, 3, 1, 1, bias=False)))
        network.set_submodule("maxpool", nn.Identity())
    return network


def _scale(network: nn.Module, width: float) -> None:
    """Replace every layer by one of `width` times its channels; images and classes keep theirs."""
    for name, layer in list(network.named_modules()):
        if isinstance(layer, nn.Conv2d):
            inputs = layer.in_channels if name == "conv1" else scaled(layer.in_channels, width)
            convolution = nn.Conv2d(
                inputs,
                scaled(layer.out_channels, width),
                layer.kernel_size[0],
                layer.stride[0],
                int(layer.padding[0]),
                bias=False,
            )
            network.set_submodule(name, _initialised(convolution))
        elif isinstance(layer, nn.BatchNorm2d):
            network.set_submodule(name, nn.BatchNorm2d(scaled(layer.num_features, width)))
        elif isinstance(layer, nn.Linear):
            network.set_submodule(name, nn.Linear(scaled(layer.in_features, width), layer.out_features))


def _initialised(convolution: nn.Conv2d) -> nn.Conv2d:
    """As torchvision's ResNet does."""
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return convolution
