"""Weights out of files and into networks."""

from __future__ import annotations

import pickle
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import models
from models import weights
from models.errors import WeightsError


def network(seed: int = 0, num_classes: int = 4) -> nn.Module:
    return models.load("mobilenet_v1", num_classes, options={"width": 0.25}, seed=seed)


def equal(first: nn.Module, second: nn.Module) -> bool:
    states = first.state_dict(), second.state_dict()
    return all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def reload(path: Path) -> nn.Module:
    return models.load("mobilenet_v1", 4, weights=str(path), options={"width": 0.25}, seed=9)


def test_safetensors_round_trip(tmp_path: Path) -> None:
    written = network()
    save_file(written.state_dict(), tmp_path / "w.safetensors")
    assert equal(reload(tmp_path / "w.safetensors"), written)


@pytest.mark.parametrize("wrap", [None, "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_torch_file_round_trip(tmp_path: Path, wrap: str | None, prefix: str) -> None:
    written = network()
    state: Any = {prefix + key: tensor for key, tensor in written.state_dict().items()}
    torch.save({wrap: state, "epoch": 3} if wrap else state, tmp_path / "w.pth")
    assert equal(reload(tmp_path / "w.pth"), written)


def test_counters_of_batch_norm_may_be_missing(tmp_path: Path) -> None:
    state = {key: value for key, value in network().state_dict().items() if "num_batches" not in key}
    torch.save(state, tmp_path / "w.pt")
    assert equal(reload(tmp_path / "w.pt"), network())


class Malicious:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (open, ("it_ran", "w"))


@pytest.mark.parametrize("wrap", [True, False])
def test_a_pickle_that_runs_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrap: bool) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "w.pth"
    if wrap:
        torch.save({"state_dict": Malicious()}, file)
    else:
        file.write_bytes(pickle.dumps(Malicious()))
    with pytest.raises(WeightsError, match=r"refused.*torch\.save\(network\.state_dict\(\), file\)"):
        reload(file)
    assert not (tmp_path / "it_ran").exists()


def test_a_pickled_network_is_refused(tmp_path: Path) -> None:
    torch.save(network(), tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="refused"):
        reload(tmp_path / "w.pth")


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("missing.pth", None, ["no such file", "imagenet"]),
        ("w.safetensors", b"not one", ["cannot be read as safetensors"]),
        ("w.pth", b"", ["w.pth"]),
        ("w.pth", b"PK\x03\x04 torn", ["w.pth"]),
        ("w.pth", [1, 2], ["no named tensors", "state_dict"]),
        ("w.pth", {"epoch": 3}, ["no named tensors"]),
    ],
)
def test_unreadable_files_are_one_message(tmp_path: Path, file: str, content: Any, words: list[str]) -> None:
    path = tmp_path / file
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(WeightsError) as caught:
        reload(path)
    for word in words:
        assert word in str(caught.value)


def test_weights_that_do_not_fit_name_the_first_few(tmp_path: Path) -> None:
    state = network(num_classes=5).state_dict()
    state["extra.weight"] = torch.zeros(1)
    for key in [key for key in state if key.startswith("features.0.0")]:
        del state[key]
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(WeightsError) as caught:
        reload(tmp_path / "w.pth")
    for part in (
        "1 missing: features.0.0.weight",
        "1 unknown: extra.weight",
        "2 of another shape: classifier.1.weight (5, 256) in place of (4, 256)",
    ):
        assert part in str(caught.value)


def imagenet_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """A ResNet-18 of 1,000 classes put where torchvision's loader looks for the ImageNet weights."""
    from torchvision.models import ResNet18_Weights

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    source = models.load("resnet18", seed=1)
    file = tmp_path / "hub" / "checkpoints" / ResNet18_Weights.IMAGENET1K_V1.url.rsplit("/", 1)[1]
    file.parent.mkdir(parents=True)
    torch.save(source.state_dict(), file)
    return source


def test_imagenet_weights_from_torchs_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = imagenet_of(tmp_path, monkeypatch)
    assert equal(models.load("resnet18", weights="imagenet", seed=2), source)
    ten = models.load("resnet18", 10, weights="imagenet", seed=2)
    fresh = models.load("resnet18", 10, seed=2)
    assert torch.equal(ten.state_dict()["layer4.1.conv2.weight"], source.state_dict()["layer4.1.conv2.weight"])
    assert torch.equal(ten.state_dict()["fc.weight"], fresh.state_dict()["fc.weight"])


def test_imagenet_weights_of_another_width_do_not_fit() -> None:
    state = models.load("mobilenet_v2").state_dict()
    source = SimpleNamespace(url="https://example.org/w.pth", get_state_dict=lambda **_: state)
    narrow = models.load("mobilenet_v2", 10, options={"width": 0.5})
    with pytest.raises(WeightsError, match="do not fit"):
        weights.fill(narrow, "imagenet", "mobilenet_v2", 10, source)


def test_a_download_that_fails_says_which_file_to_put_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(**_: object) -> dict[str, torch.Tensor]:
        assert socket.getdefaulttimeout() == weights.DOWNLOAD_TIMEOUT_S
        raise OSError("Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    source = SimpleNamespace(url="https://example.org/models/net-1234.pth", get_state_dict=unreachable)
    with pytest.raises(WeightsError) as caught:
        weights.fill(network(), "imagenet", "net", 4, source)
    assert "https://example.org/models/net-1234.pth" in str(caught.value)
    assert str(tmp_path / "hub" / "checkpoints" / "net-1234.pth") in str(caught.value)
    assert socket.getdefaulttimeout() is None


def test_no_imagenet_weights_for_mobilenet_v1() -> None:
    with pytest.raises(WeightsError, match="none for mobilenet_v1"):
        models.load("mobilenet_v1", weights="imagenet")
