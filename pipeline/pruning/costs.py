"""What a network costs at given channel counts, without building it: parameters, MACs and each layer's shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pipeline.pruning.groups import ChannelGroup, is_depthwise

Counts = NDArray[np.float64]
Size = tuple[int, int]
"""Height and width."""
LayerKind = Literal["dense", "depthwise", "linear"]


@dataclass(frozen=True)
class LayerShape:
    """One convolution or linear layer as it ran on one image; a linear layer has one output pixel."""

    name: str
    kind: LayerKind
    in_channels: int
    out_channels: int
    kernel_size: Size
    in_size: Size
    out_size: Size
    has_bias: bool

    @property
    def kernel(self) -> int:
        """Taps of one filter in one input channel: K_h x K_w."""
        return self.kernel_size[0] * self.kernel_size[1]

    @property
    def in_pixels(self) -> int:
        return self.in_size[0] * self.in_size[1]

    @property
    def out_pixels(self) -> int:
        return self.out_size[0] * self.out_size[1]


@dataclass(frozen=True)
class NetworkShape:
    """The dense network's layers, and how each one's channels follow the groups' counts.

    in_links[l, g]: how many inputs of layer l go with one channel of group g (out_links likewise).
    """

    group_names: tuple[str, ...]
    group_channels: Counts  # (G,)
    layers: tuple[LayerShape, ...]
    in_links: Counts  # (L, G)
    out_links: Counts  # (L, G)
    batchnorm_links: Counts  # (G,): batch-norm parameters (scale and shift) per channel
    fixed_parameters: int
    """Parameters that no group changes and no convolution or linear layer holds."""

    def channels(self, keep_counts: Mapping[str, int]) -> tuple[Counts, Counts]:
        """Input and output channels (L,) of every layer; groups left out of `keep_counts` are whole."""
        removed = self._removed(keep_counts)
        inputs = np.array([layer.in_channels for layer in self.layers]) - self.in_links @ removed
        outputs = np.array([layer.out_channels for layer in self.layers]) - self.out_links @ removed
        return inputs, outputs

    def macs(self, keep_counts: Mapping[str, int]) -> int:
        """Multiply-accumulates of one image: of convolutions and linear layers."""
        inputs, outputs = self.channels(keep_counts)
        return int(
            sum(w * layer.out_pixels for w, layer in zip(self._weights(inputs, outputs), self.layers, strict=True))
        )

    def macs_without(self, zeros: Mapping[str, int]) -> int:
        """Multiply-accumulates of one image through the dense network whose factor is not a zero weight.

        Args:
            zeros: how many of a layer's weights are zero; a layer that runs twice saves them twice.
        """
        return self.macs({}) - sum(zeros.get(layer.name, 0) * layer.out_pixels for layer in self.layers)

    def params(self, keep_counts: Mapping[str, int]) -> int:
        """Parameters of the network; a layer that runs twice has its own once."""
        inputs, outputs = self.channels(keep_counts)
        names = [layer.name for layer in self.layers]
        first = np.array([names.index(name) == row for row, name in enumerate(names)], dtype=np.float64)
        biases = outputs * [layer.has_bias for layer in self.layers]
        batchnorm = self.batchnorm_links @ (self.group_channels - self._removed(keep_counts))
        return int((self._weights(inputs, outputs) + biases) @ first + batchnorm) + self.fixed_parameters

    def _removed(self, keep_counts: Mapping[str, int]) -> Counts:
        kept = np.array([keep_counts.get(n, c) for n, c in zip(self.group_names, self.group_channels, strict=True)])
        removed: Counts = self.group_channels - kept
        return removed

    def _weights(self, inputs: Counts, outputs: Counts) -> Counts:
        kernels = np.array([layer.kernel for layer in self.layers], dtype=np.float64)
        depthwise = np.array([layer.kind == "depthwise" for layer in self.layers])
        weights: Counts = kernels * outputs * np.where(depthwise, 1.0, inputs)
        return weights


def trace_shape(network: nn.Module, groups: Sequence[ChannelGroup], input_shape: tuple[int, int, int]) -> NetworkShape:
    """Run the dense network once on an empty image and note every layer's shape."""
    layers = layer_shapes(network, input_shape)
    rows: dict[str, list[int]] = {}  # a layer that runs twice has two rows
    for row, layer in enumerate(layers):
        rows.setdefault(layer.name, []).append(row)
    links = {axis: np.zeros((len(layers), len(groups))) for axis in ("in", "out")}
    batchnorm = np.zeros(len(groups))
    for column, group in enumerate(groups):
        for member in group.members:
            per_channel = len(member.positions) / group.channels
            if member.layer not in rows:
                batchnorm[column] += per_channel * len(list(network.get_submodule(member.layer).parameters()))
                continue
            for row in rows[member.layer]:
                links[member.axis][row, column] += per_channel
                if layers[row].kind == "depthwise":
                    links["in"][row, column] += per_channel
    shape = NetworkShape(
        group_names=tuple(group.name for group in groups),
        group_channels=np.array([group.channels for group in groups], dtype=np.float64),
        layers=tuple(layers),
        in_links=links["in"],
        out_links=links["out"],
        batchnorm_links=batchnorm,
        fixed_parameters=0,
    )
    total = sum(parameter.numel() for parameter in network.parameters())
    return NetworkShape(**{**shape.__dict__, "fixed_parameters": total - shape.params({})})


@torch.no_grad()
def layer_shapes(network: nn.Module, input_shape: tuple[int, int, int]) -> list[LayerShape]:
    names = {layer: name for name, layer in network.named_modules()}
    shapes: list[LayerShape] = []

    def note(layer: nn.Module, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        if isinstance(layer, nn.Conv2d):
            shapes.append(_convolution_shape(names[layer], layer, inputs[0], output))
        elif isinstance(layer, nn.Linear):
            has_bias, one = layer.bias is not None, (1, 1)
            channels = layer.in_features, layer.out_features
            shapes.append(LayerShape(names[layer], "linear", *channels, one, one, one, has_bias))

    hooks = [layer.register_forward_hook(note) for layer in names if isinstance(layer, nn.Conv2d | nn.Linear)]
    training = network.training
    try:
        network.eval()
        network(torch.zeros(1, *input_shape))
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
    return shapes


def _convolution_shape(name: str, layer: nn.Conv2d, images: torch.Tensor, output: torch.Tensor) -> LayerShape:
    kind: LayerKind = "depthwise" if is_depthwise(layer) else "dense"
    return LayerShape(
        name=name,
        kind=kind,
        # Grouped convolutions are dense ones with fewer inputs per filter.
        in_channels=layer.in_channels if kind == "depthwise" else layer.in_channels // layer.groups,
        out_channels=layer.out_channels,
        kernel_size=(layer.kernel_size[0], layer.kernel_size[1]),
        in_size=(images.shape[-2], images.shape[-1]),
        out_size=(output.shape[-2], output.shape[-1]),
        has_bias=layer.bias is not None,
    )


def parameter_count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
