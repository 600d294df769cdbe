"""The registry and what it builds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

import models
from models.errors import CallableError, OptionError, UnknownNameError
from models.mobilenet_v1 import scaled
from tests.pipeline.toy import state_equal
from tests.small import OPTIONS

# The sizes that their papers (MobileNetV1: 4.2 million) and torchvision's documentation give at 1,000 classes.
PARAMETERS = {
    "efficientnet_b2": 9_109_994,
    "mobilenet_v1": 4_231_976,
    "mobilenet_v2": 3_504_872,
    "resnet18": 11_689_512,
    "resnet50": 25_557_032,
    "wide_resnet28": 37_113_784,
}

USER_NETWORK = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self, num_classes, width=4):
        super().__init__(nn.Conv2d(3, width, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(width, num_classes))

def build(num_classes, width=4):
    return Net(num_classes, width)

def broken(num_classes):
    raise RuntimeError("no luck")

def not_a_network(num_classes):
    return 7

def wrong_outputs(num_classes):
    return Net(num_classes + 1)
"""


@pytest.fixture
def user_file(here: Path) -> str:
    (here / "nets.py").write_text(USER_NETWORK)
    return "nets.py"


def test_names_are_the_files() -> None:
    assert models.names() == tuple(sorted(PARAMETERS))


def test_names_imports_no_torch() -> None:
    code = "import sys, models; models.names(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_parameter_count(name: str) -> None:
    with torch.device("meta"):
        network = models.load(name)
    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_classifies_64_pixels_and_trains_in_small_batches(name: str) -> None:
    network = models.load(name, num_classes=10, options=OPTIONS[name], image_size=64, seed=0)
    assert network.training
    outputs = network(torch.randn(2, 3, 64, 64))
    assert outputs.shape == (2, 10)
    outputs.sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize(("channels", "width", "expected"), [(32, 1.0, 32), (32, 0.25, 8), (64, 0.7, 48), (32, 0.1, 8)])
def test_width_rounds_to_a_multiple_of_8(channels: int, width: float, expected: int) -> None:
    assert scaled(channels, width) == expected


def test_width_shrinks_mobilenet_v1() -> None:
    network = models.load("mobilenet_v1", num_classes=10, options={"width": 0.25}, image_size=32)
    # The paper's Table 6 gives 0.5 million (470,072) with 1,000 classes, whose classifier has 257,000 of them.
    assert sum(parameter.numel() for parameter in network.parameters()) == 470_072 - 257_000 + 2_570


@pytest.mark.parametrize(("num_classes", "parameters"), [(10, 36_479_194), (100, 36_536_884)])
def test_wide_resnet28_has_the_papers_size(num_classes: int, parameters: int) -> None:
    """Zagoruyko and Komodakis 2016, Table 5: 36.5 million at k = 10, on CIFAR-10 and CIFAR-100."""
    with torch.device("meta"):
        network = models.load("wide_resnet28", num_classes)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


@pytest.mark.parametrize("name", ["resnet50", "efficientnet_b2"])
def test_width_1_is_torchvisions_network(name: str) -> None:
    ours = models.load(name, num_classes=10, options={"width": 1.0}, seed=0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = getattr(torchvision.models, name)(num_classes=10)
        assert state_equal(ours, theirs)
        images = torch.randn(2, 3, 64, 64)
        outputs = []
        for network in (ours, theirs):
            torch.manual_seed(1)  # the same dropout and stochastic depth
            outputs.append(network(images))
    assert torch.equal(*outputs)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet50", {"width": 0.25}),
        ("resnet50", {"width": 0.3, "small_images": True}),
        ("efficientnet_b2", {"width": 0.25}),
    ],
)
def test_a_narrow_network_has_every_layer_of_the_wide_one(name: str, options: dict[str, Any]) -> None:
    def layers(network: nn.Module) -> dict[str, str]:
        kept = {n: m for n, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.Linear | nn.BatchNorm2d)}
        return {name: type(layer).__name__ for name, layer in kept.items()}

    wide, narrow = models.load(name, 10, seed=0), models.load(name, 10, options=options, image_size=32, seed=0)
    assert layers(narrow) == layers(wide)
    assert sum(p.numel() for p in narrow.parameters()) < 0.15 * sum(p.numel() for p in wide.parameters())
    for layer_name, layer in narrow.named_modules():
        if isinstance(layer, nn.BatchNorm2d):
            whole = wide.get_submodule(layer_name)
            assert isinstance(whole, nn.BatchNorm2d)
            assert layer.num_features % 8 == 0 and layer.num_features < whole.num_features


def test_small_images_keep_their_pixels_in_the_stem() -> None:
    sizes: list[tuple[int, ...]] = []
    network = models.load("resnet50", 10, options={"width": 0.125, "small_images": True}, seed=0).eval()
    for stage in ("layer1", "layer4"):
        network.get_submodule(stage).register_forward_hook(lambda _m, _i, output: sizes.append(tuple(output.shape)))
    network(torch.zeros(1, 3, 32, 32))
    assert sizes == [(1, 32, 32, 32), (1, 256, 4, 4)]


def test_equal_seeds_give_equal_networks_and_leave_torch_alone() -> None:
    before = torch.random.get_rng_state()
    first, again, other = (models.load("mobilenet_v2", 10, seed=seed).state_dict() for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["classifier.1.weight"], other["classifier.1.weight"])


def test_users_callable_by_module_and_by_file(user_file: str) -> None:
    for name in ("nets:build", f"{user_file}:build", "nets:Net"):
        network = models.load(name, num_classes=3, options={"width": 8}, image_size=16)
        assert network(torch.zeros(1, 3, 16, 16)).shape == (1, 3)


def test_one_channel_network_is_tried_on_one_channel(user_file: str) -> None:
    Path("grey.py").write_text(USER_NETWORK.replace("nn.Conv2d(3,", "nn.Conv2d(1,"))
    assert models.load("grey.py:build", 3, image_size=16, channels=1).training
    with pytest.raises(OptionError, match="a 3x16x16 image raised RuntimeError"):
        models.load("grey.py:build", 3, image_size=16)


@pytest.mark.parametrize(
    ("name", "arguments", "error", "words"),
    [
        ("mobilenet_v9", {}, UnknownNameError, ["mobilenet_v9", "mobilenet_v2, resnet18", "path/to/file.py:callable"]),
        ("../models/resnet18", {}, UnknownNameError, ["known:"]),
        ("registry", {}, UnknownNameError, ["known:"]),
        ("mobilenet_v2", {"image_size": 31}, OptionError, ["31", "at least 32", "data.image_size"]),
        ("mobilenet_v2", {"num_classes": 1}, OptionError, ["num_classes 1", "at least 2"]),
        ("resnet18", {"options": {"width": 0.5}}, OptionError, ["resnet18", "'width'", "signature"]),
        ("mobilenet_v1", {"options": {"width": "wide"}}, OptionError, ["'wide'", "TypeError"]),
        ("wide_resnet28", {"options": {"width": 0}}, OptionError, ["width 0", "at least 1"]),
        ("nets:broken", {}, OptionError, ["RuntimeError: no luck"]),
        ("nets:not_a_network", {}, CallableError, ["int", "torch.nn.Module"]),
        ("nets:wrong_outputs", {"image_size": 16}, OptionError, ["(2, 11)", "(2, 10)"]),
        ("nets:build", {"image_size": 2}, OptionError, ["3x2x2", "data.image_size"]),
    ],
)
def test_mistakes_are_one_message(
    user_file: str, name: str, arguments: dict[str, object], error: type[Exception], words: list[str]
) -> None:
    with pytest.raises(error) as caught:
        models.load(name, **{"num_classes": 10, **arguments})  # type: ignore[arg-type]
    for word in words:
        assert word in str(caught.value)


class Viewing(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.head = nn.Linear(4 * 64, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        return self.head(x.view(x.size(0), -1))


def test_a_view_that_breaks_on_channels_last_is_found_at_once(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("from tests.models.test_networks import Viewing as build\n")
    with pytest.raises(OptionError, match=r"uses \.view\(\.\.\.\), .* write \.flatten\(1\) or \.reshape"):
        models.load(f"{tmp_path}/net.py:build", num_classes=5, image_size=8)
