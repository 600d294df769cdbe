"""Weight pruning by magnitude: layer by layer, the smallest weights become zero and stay zero.

Nothing gets smaller: the zeroed network has the dense one's shapes, and a phone profits only through formats that store
zeros sparsely. Sites are convolutions and linear layers, squeeze-excitation's and depthwise ones included, as in PuRL
(ResNet-50: 54 layers, EfficientNet-B2: 116); biases and batch norm are never pruned.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from pipeline.errors import ModelError
from pipeline.pruning.costs import layer_shapes
from pipeline.records import Architecture, PruningPlan, WeightPlan


@dataclass(frozen=True)
class WeightLayer:
    """One convolution or linear layer; `size` counts its weights without the bias."""

    name: str
    size: int


def weight_layers(network: nn.Module, input_shape: tuple[int, int, int]) -> tuple[WeightLayer, ...]:
    """Every Conv2d and Linear in the order in which they run on one image.

    A layer that runs twice is one, at its first place, and so are layers that share one weight. What is not called as a
    module (an attention's inner projections) is not pruned.

    Args:
        input_shape: (C, H, W).

    Raises:
        ModelError: the network does not run at this input shape, or has no such layer.
    """
    try:
        shapes = layer_shapes(network, input_shape)
    except Exception as error:  # the user's forward can raise anything
        raise ModelError(
            f"the network does not run on an image of shape {input_shape}: {type(error).__name__}: {error}; "
            "check data.image_size and the network's forward"
        ) from error
    weights = _weights(network)
    names = dict.fromkeys(shape.name for shape in shapes if shape.name in weights)
    if not names:
        raise ModelError("no weight of this network can be pruned: it runs no torch.nn.Conv2d and no torch.nn.Linear")
    return tuple(WeightLayer(name, weights[name].numel()) for name in names)


def weights_left(network: nn.Module, layers: Iterable[WeightLayer]) -> dict[str, int]:
    """How many of each layer's weights are not zero."""
    weights = {layer.name: network.get_submodule(layer.name).get_parameter("weight") for layer in layers}
    return {name: int(weight.count_nonzero()) for name, weight in weights.items()}


@torch.no_grad()
def kept_by_sigma(weight: torch.Tensor, alpha: float) -> int:
    """How many weights PuRL's equation 2 leaves: those with |w| >= alpha * sigma(w).

    sigma is the population's standard deviation (divided by N) of all the layer's weights. The paper says neither which
    one it takes nor whether weights that earlier rounds made zero count: here they do, and stay pruned at any alpha.

    Departure: at least one weight stays, where the equation can leave none (uniform weights from alpha 1.8).
    """
    values = weight.double()
    left = (values.abs() >= alpha * values.std(correction=0)) & (values != 0)
    return max(1, int(left.sum()))


@torch.no_grad()
def kept_by_share(weight: torch.Tensor, sparsity: float) -> int:
    """How many weights stay where this share of the layer is to be zero: PuRL's magnitude target (section 4.1.2).

    The number of zeros is rounded to the nearest; weights that are zero already stay so; at least one weight stays.

    Args:
        sparsity: 0..1.
    """
    kept = weight.numel() - round(weight.numel() * sparsity)
    return max(1, min(kept, int(weight.count_nonzero())))


@torch.no_grad()
def strongest_weights(weight: torch.Tensor, kept: int) -> torch.Tensor:
    """The mask, of the weight's shape, of its `kept` largest magnitudes; of equal ones the lower index wins."""
    magnitudes = weight.abs().flatten()
    lowest = magnitudes.kthvalue(len(magnitudes) - kept + 1).values  # linear time, where sorting is not
    mask = magnitudes > lowest
    ties = (magnitudes == lowest).nonzero().flatten()
    mask[ties[: kept - int(mask.sum())]] = True
    return mask.reshape(weight.shape)


def make_weight_plan(
    architecture: Architecture, layers: Iterable[WeightLayer], kept: Mapping[str, int], provenance: Mapping[str, Any]
) -> PruningPlan:
    """The plan that keeps the `kept` strongest weights of each layer; layers left out stay whole.

    Raises:
        ModelError: `kept` names a layer that is not among `layers`.
    """
    sizes = {layer.name: layer.size for layer in layers}
    unknown = [name for name in kept if name not in sizes]
    if unknown:
        raise ModelError(f"{unknown[0]!r} has no weights to prune; the layers are {', '.join(sizes)}")
    plans = {
        name: WeightPlan(size=size, kept=kept[name]) for name, size in sizes.items() if kept.get(name, size) != size
    }
    return PruningPlan(architecture=architecture, groups={}, weights=plans, provenance=dict(provenance))


@torch.no_grad()
def zero_weights(network: nn.Module, plan: PruningPlan) -> None:
    """Set to zero, in place, all but the strongest weights of each layer that the plan names.

    Raises:
        ModelError: the plan names a layer or a size that this network does not have.
    """
    for name, weight in _planned(network, plan).items():
        weight.masked_fill_(~strongest_weights(weight, plan.weights[name].kept), 0.0)


def require_zeros(network: nn.Module, plan: PruningPlan) -> None:
    """Check that no layer has more weights left than the plan keeps.

    Raises:
        ModelError: one has, or the plan is of another network.
    """
    for name, weight in _planned(network, plan).items():
        left, kept = int(weight.count_nonzero()), plan.weights[name].kept
        if left > kept:
            raise ModelError(
                f"{name!r} has {left} weights that are not zero, its plan keeps {kept}: they are not of one network; "
                "give the model.safetensors that lies beside the plan"
            )


def zeros_of(network: nn.Module) -> dict[str, torch.Tensor]:
    """Where the weights of convolutions and linear layers are zero, by parameter name: what `fit` is to hold there."""
    return {f"{name}.weight".removeprefix("."): weight.detach() == 0 for name, weight in _weights(network).items()}


def sparsity(network: nn.Module) -> float:
    """The share of zeros among the weights of all convolutions and linear layers."""
    weights = _weights(network).values()
    return 1.0 - sum(int(weight.count_nonzero()) for weight in weights) / sum(weight.numel() for weight in weights)


def _weights(network: nn.Module) -> dict[str, torch.Tensor]:
    """The weight of each convolution and linear layer by the layer's name; a shared one under its first layer's."""
    layers = {name: layer for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)}
    first = {id(layer.weight): name for name, layer in reversed(layers.items())}
    return {name: layer.weight for name, layer in layers.items() if first[id(layer.weight)] == name}


def _planned(network: nn.Module, plan: PruningPlan) -> dict[str, torch.Tensor]:
    """The weights that the plan names."""
    weights = _weights(network)
    for name, layer in plan.weights.items():
        if name not in weights:
            raise ModelError(
                f"the plan prunes weights of {name!r}, which this network does not have; its layers are "
                f"{', '.join(weights)}"
            )
        if weights[name].numel() != layer.size:
            raise ModelError(
                f"the plan is for {layer.size} weights in {name!r}, this network has {weights[name].numel()}; "
                "give the architecture and options that the plan was made for"
            )
    return {name: weights[name] for name in plan.weights}
