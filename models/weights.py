"""Weights from torchvision, safetensors or torch files into a network; never a pickled object."""

from __future__ import annotations

import pickle
import socket
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from models.errors import WeightsError

IMAGENET_CLASSES = 1000
DOWNLOAD_TIMEOUT_S = 30.0
SHOWN = 3
"""How many of the tensors that do not fit a message names."""

State = dict[str, torch.Tensor]


def fill(network: nn.Module, weights: str, name: str, num_classes: int, imagenet: Any) -> None:
    """Load `weights` (`imagenet` or a file) into a network.

    Args:
        name: what messages call the network.
        imagenet: torchvision's weights for it, or None where there are none.

    Raises:
        WeightsError: there are none, or they cannot be read, or they do not fit.
    """
    if weights == "imagenet":
        state = _imagenet_state(name, imagenet)
        if num_classes != IMAGENET_CLASSES:
            state = _with_own_classifier(state, network, num_classes)
    else:
        state = read(Path(weights))
    copy_state(network, state, f"weights {weights} for {name}")


def read(path: Path) -> State:
    """The named tensors of a .safetensors file, or of a torch file (bare, or under `state_dict` or `model`)."""
    path = path.expanduser()
    if not path.is_file():
        raise WeightsError(f"weights {path}: there is no such file; write imagenet, null, or the path of a file")
    try:
        if path.suffix == ".safetensors":
            state: State = load_file(path)
            return state
        with warnings.catch_warnings():
            # Files of another pickle protocol mostly load, and are refused below where they do not.
            warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"weights {path}: refused: it is damaged, or holds more than tensors (which could run code when read); "
            f"save the network's tensors alone: torch.save(network.state_dict(), file)"
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, SafetensorError) as error:
        reason = str(error).partition("\n")[0]
        raise WeightsError(
            f"weights {path}: cannot be read as {'safetensors' if path.suffix == '.safetensors' else 'a torch file'} "
            f"({reason}); save it again, or name it .safetensors if it is one"
        ) from error
    return _state_of(content, path)


def copy_state(network: nn.Module, state: State, what: str) -> None:
    """Fill every tensor of the network; one that is missing, left over or of another shape is an error."""
    own = network.state_dict()
    # Files written before batch norm counted its batches lack the counters, which nothing here reads.
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    left_over = [key for key in state if key not in own]
    shapes = [
        f"{key} {tuple(tensor.shape)} in place of {tuple(own[key].shape)}"
        for key, tensor in state.items()
        if key in own and tensor.shape != own[key].shape
    ]
    problems = [
        f"{len(found)} {label}: {', '.join(found[:SHOWN])}{', ...' if len(found) > SHOWN else ''}"
        for label, found in (("missing", missing), ("unknown", left_over), ("of another shape", shapes))
        if found
    ]
    if problems:
        raise WeightsError(
            f"{what}: do not fit: {'; '.join(problems)}; use the model, options and number of classes of their training"
        )
    network.load_state_dict(state, strict=False)


def _state_of(content: Any, path: Path) -> State:
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise WeightsError(
            f"weights {path}: holds no named tensors, neither bare nor under state_dict or model; "
            f"write it with torch.save(network.state_dict(), file)"
        )
    # nn.DataParallel puts its own name before every tensor's.
    wrapped = bool(content) and all(key.startswith("module.") for key in content)
    return {key.removeprefix("module.") if wrapped else key: tensor for key, tensor in content.items()}


def _imagenet_state(name: str, imagenet: Any) -> State:
    if imagenet is None:
        raise WeightsError(f"weights imagenet: there are none for {name}; give a file, or null to train here")
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(imagenet.url).path).name
    timeout_before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_S)  # torch.hub gives its connection none
    try:
        state: State = imagenet.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).partition("\n")[0]
        raise WeightsError(
            f"weights imagenet for {name}: could not be loaded ({reason}); download {imagenet.url} elsewhere "
            f"and put it at {file}"
        ) from error
    finally:
        socket.setdefaulttimeout(timeout_before)
    return state


def _with_own_classifier(state: State, network: nn.Module, num_classes: int) -> State:
    """The state, with the network's own random tensors in place of those that have one row per ImageNet class."""
    own = network.state_dict()

    def resized(key: str, tensor: torch.Tensor) -> bool:
        rows = tensor.shape[:1] == (IMAGENET_CLASSES,)
        return rows and key in own and own[key].shape == (num_classes, *tensor.shape[1:])

    return {key: own[key] if resized(key, tensor) else tensor for key, tensor in state.items()}
