"""From a name to a network: a file of this package, or a callable of the user's."""

from __future__ import annotations

import contextlib
import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models import callables
from models.errors import CallableError, ModelsError, OptionError, UnknownNameError

if TYPE_CHECKING:
    from torch import nn

_NOT_NETWORKS = frozenset({"__init__", "callables", "errors", "registry", "weights"})


def names() -> tuple[str, ...]:
    """The registry: the files beside this one, found without importing them."""
    return tuple(sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in _NOT_NETWORKS))


def load(
    name: str,
    num_classes: int = 1000,
    weights: str | None = None,
    options: Mapping[str, Any] | None = None,
    image_size: int | None = None,
    channels: int = 3,
    seed: int | None = None,
) -> nn.Module:
    """Build a network and fill it.

    Args:
        name: one of `names()`, `module:callable`, or `path/to/file.py:callable`; a callable is called with
            `num_classes` and the options.
        weights: None (random), `imagenet`, or a file (.safetensors, or a torch file of tensors).
        image_size: where given, the network is tried on one image of this size and `channels`.
        seed: where given, the random weights depend on it alone, and torch's own random state is left as it was.

    Raises:
        ModelsError: one of its classes; the text says what to change.
    """
    from models.weights import fill

    builder, imagenet = _builder(name, image_size)
    _check_arguments(builder, name, num_classes, options or {})
    with _seeded(seed):
        network = _call(builder, name, num_classes, options or {})
    if image_size is not None:
        _try(network, name, num_classes, image_size, channels)
    if weights is not None:
        fill(network, weights, name, num_classes, imagenet)
    return network


def _builder(name: str, image_size: int | None) -> tuple[Callable[..., Any], Any]:
    """The callable that builds the network, and torchvision's ImageNet weights for it or None."""
    if ":" in name:
        return callables.resolve(name, "model"), None
    if name not in names():
        raise UnknownNameError(
            f"model {name!r}: unknown; known: {', '.join(names())}; "
            f"a network of yours is written module:callable or path/to/file.py:callable"
        )
    module = importlib.import_module(f"models.{name}")
    if image_size is not None and image_size < module.MIN_IMAGE_SIZE:
        raise OptionError(
            f"image_size {image_size}: {name} needs at least {module.MIN_IMAGE_SIZE} pixels; set data.image_size higher"
        )
    return module.build, module.IMAGENET


def _check_arguments(builder: Callable[..., Any], name: str, num_classes: int, options: Mapping[str, Any]) -> None:
    if num_classes < 2:
        raise OptionError(f"num_classes {num_classes}: a classifier needs at least 2")
    try:
        signature = inspect.signature(builder)
    except ValueError:  # a builtin without one: the call itself will tell
        return
    try:
        signature.bind(num_classes=num_classes, **options)
    except TypeError as error:
        given = ", ".join(["num_classes", *options])
        raise OptionError(
            f"model {name}: cannot be called with ({given}): {error}; its signature is {signature}"
        ) from error


def _call(builder: Callable[..., Any], name: str, num_classes: int, options: Mapping[str, Any]) -> nn.Module:
    from torch import nn

    try:
        network = builder(num_classes=num_classes, **options)
    except ModelsError:
        raise
    except Exception as error:  # the builder may be the user's: whatever it raises is theirs to read
        raise OptionError(
            f"model {name}: building it with num_classes={num_classes} and options {dict(options)} raised "
            f"{type(error).__name__}: {error}"
        ) from error
    if not isinstance(network, nn.Module):
        raise CallableError(f"model {name}: returned {type(network).__name__}; return a torch.nn.Module")
    return network


def _try(network: nn.Module, name: str, num_classes: int, image_size: int, channels: int) -> None:
    import torch

    modes = [(module, module.training) for module in network.modules()]
    try:
        with torch.no_grad():
            # As training and evaluation will: several images, channels last, which is the fastest layout on a CPU.
            images = torch.zeros(2, channels, image_size, image_size).to(memory_format=torch.channels_last)
            output = network.eval()(images)
    except Exception as error:
        if "view size is not compatible" in str(error):
            raise OptionError(
                f"model {name}: its forward uses .view(...), which refuses images in channels-last layout; write "
                f".flatten(1) or .reshape(...) instead"
            ) from error
        raise OptionError(
            f"model {name}: a {channels}x{image_size}x{image_size} image raised {type(error).__name__}: {error}; "
            f"set data.image_size to a size that the network takes"
        ) from error
    finally:
        for module, training in modes:
            module.training = training
    shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
    if shape != (2, num_classes):
        raise OptionError(f"model {name}: two images gave {shape}; it must give logits of shape (2, {num_classes})")


@contextlib.contextmanager
def _seeded(seed: int | None) -> Iterator[None]:
    import torch

    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.default_generator.manual_seed(seed)
        yield
