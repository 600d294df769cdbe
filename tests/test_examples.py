"""Every shipped example loads, and names only what exists."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import models
from pipeline import data
from pipeline.config import load_config

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))


@pytest.fixture(autouse=True)
def stand_at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # names such as examples/own_net.py:build are looked up from where one stands


def test_the_demo_is_there() -> None:
    assert ROOT / "examples" / "demo.yaml" in EXAMPLES


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_loads_and_is_called_as_its_file(path: Path) -> None:
    assert load_config(path).name == path.stem


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_names_what_exists(path: Path) -> None:
    config = load_config(path)
    assert config.data.name in data.names()
    agents = {file.stem for file in (ROOT / "pipeline" / "search" / "agents").glob("*.py")}
    assert config.search.agent in agents
    section = config.model
    # Weights are left out: ImageNet's would be downloaded.
    network = models.load(section.name, 10, options=section.options, image_size=config.data.image_size, seed=0)
    assert sum(parameter.numel() for parameter in network.parameters()) > 100_000


def test_the_network_of_ones_own_has_residual_sums() -> None:
    network = models.load("examples/own_net.py:build", num_classes=5, options={"width": 8}, seed=0).eval()
    with torch.no_grad():
        assert network(torch.zeros(2, 3, 64, 64)).shape == (2, 5)
        for block in (module for module in network.modules() if type(module).__name__ == "ResidualBlock"):
            block.body[-1].weight.zero_()  # with the body silent, the shortcut alone still carries the image
        image = torch.rand(1, 3, 64, 64)
        assert not torch.allclose(network(image), network(1 - image))
