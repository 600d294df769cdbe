"""Weight pruning: what equation 2 says, what a plan keeps, and that zeros stay zero."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import nn

import models
from pipeline.config import FinetuneSection
from pipeline.errors import ModelError
from pipeline.pruning.weights import (
    WeightLayer,
    kept_by_share,
    kept_by_sigma,
    make_weight_plan,
    require_zeros,
    sparsity,
    strongest_weights,
    weight_layers,
    zero_weights,
    zeros_of,
)
from pipeline.records import Architecture, GroupPlan, PruningPlan, WeightPlan, read_json
from pipeline.run_folder import write_json
from pipeline.subject import load_slimmed, save_weights
from pipeline.training import fit
from tests.pipeline.toy import SIDE, state_equal, toy_data, toy_network

ARCHITECTURE = Architecture(name="tests.pipeline.toy:toy", num_classes=3, image_size=SIDE)
SHAPE = (3, SIDE, SIDE)
WEIGHTS = hnp.arrays(
    np.float32, hnp.array_shapes(min_dims=2, max_dims=4, max_side=6), elements=st.floats(-2, 2, width=32)
)


def nonzeros(network: nn.Module) -> dict[str, int]:
    return {name: int((~mask).sum()) for name, mask in zeros_of(network).items()}


@given(values=WEIGHTS, alpha=st.integers(0, 11).map(lambda step: step * 0.2))
def test_equation_2(values: np.ndarray, alpha: float) -> None:
    """{w | |w| < alpha sigma(w)} goes; a weight on the very threshold may fall either way by rounding."""
    magnitudes = np.abs(values.astype(np.float64))
    threshold = alpha * values.astype(np.float64).std()
    kept = kept_by_sigma(torch.from_numpy(values), alpha)
    surely = np.count_nonzero((magnitudes >= threshold * (1 + 1e-12)) & (magnitudes > 0))
    perhaps = np.count_nonzero((magnitudes >= threshold * (1 - 1e-12)) & (magnitudes > 0))
    assert max(1, surely) <= kept <= max(1, perhaps)


def test_equation_2_on_a_normal_layer() -> None:
    """P(|w| < alpha sigma) of a normal distribution: 0 at 0, 68.27% at 1, 97.22% at 2.2."""
    weight = torch.randn(100, 1000, generator=torch.Generator().manual_seed(0))
    left = [kept_by_sigma(weight, alpha) / weight.numel() for alpha in (0.0, 1.0, 2.2)]
    assert left[0] == 1.0
    assert left[1] == pytest.approx(1 - 0.6827, abs=0.005)
    assert left[2] == pytest.approx(1 - 0.9722, abs=0.002)


def test_one_weight_stays_where_the_equation_leaves_none() -> None:
    uniform = torch.linspace(-1, 1, 101)
    assert kept_by_sigma(uniform, 1.6) > 1 and kept_by_sigma(uniform, 1.8) == 1
    assert kept_by_share(uniform, 1.0) == 1
    assert kept_by_sigma(torch.zeros(5), 0.0) == 1


@given(values=WEIGHTS, share=st.floats(0, 1))
def test_a_share_is_met_to_the_nearest_weight(values: np.ndarray, share: float) -> None:
    kept = kept_by_share(torch.from_numpy(values), share)
    left = np.count_nonzero(values)
    assert 1 <= kept <= max(1, left)
    if 1 < kept < left:
        assert abs((values.size - kept) - share * values.size) <= 0.5 + 1e-9


@given(values=WEIGHTS, data=st.data())
def test_a_mask_holds_exactly_the_strongest_and_the_lower_index_wins(values: np.ndarray, data: st.DataObject) -> None:
    kept = data.draw(st.integers(1, values.size))
    mask = strongest_weights(torch.from_numpy(values), kept).numpy()
    order = np.lexsort((np.arange(values.size), -np.abs(values).ravel()))
    expected = np.zeros(values.size, dtype=bool)
    expected[order[:kept]] = True
    assert mask.shape == values.shape
    assert (mask.ravel() == expected).all()


@pytest.mark.parametrize(("name", "layers"), [("resnet50", 54), ("efficientnet_b2", 116), ("wide_resnet28", 29)])
def test_the_walk_has_the_papers_number_of_layers(name: str, layers: int) -> None:
    """PuRL: "since there are 54 layers in ResNet-50", "Efficient-B2 ... having 116 layers"; WRN-28: 28 and the last."""
    network = models.load(name, 10, options={"width": 2} if name == "wide_resnet28" else {"width": 0.25}, seed=0)
    walk = weight_layers(network, (3, 32, 32))
    everything = {n: m for n, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    assert {layer.name: layer.size for layer in walk} == {n: m.weight.numel() for n, m in everything.items()}
    order = [layer.name for layer in walk]
    assert len(order) == layers
    if name == "efficientnet_b2":
        block = [layer for layer in order if layer.startswith("features.2.0.")]
        assert [layer.removeprefix("features.2.0.block.") for layer in block] == ["0.0", "1.0", "2.fc1", "2.fc2", "3.0"]


class Shared(nn.Module):
    """One layer runs twice, two share a weight, and the last is defined first."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 2)
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.unused = nn.Linear(7, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.mean(dim=(2, 3))
        return self.head(self.first(self.second(self.first(x))))


def test_shared_weights_are_one_layer_and_what_never_runs_is_none() -> None:
    network = Shared()
    assert weight_layers(network, (4, 3, 3)) == (WeightLayer("first", 16), WeightLayer("head", 8))
    assert sorted(zeros_of(network)) == ["first.weight", "head.weight", "unused.weight"]
    nn.init.zeros_(network.first.weight)
    assert sparsity(network) == pytest.approx(16 / (16 + 8 + 49))


def test_networks_that_cannot_be_walked_say_why() -> None:
    with pytest.raises(ModelError, match=r"image of shape \(1, 9, 9\): RuntimeError: .*; check data\.image_size"):
        weight_layers(toy_network(), (1, 9, 9))
    with pytest.raises(ModelError, match=r"no weight .* can be pruned"):
        weight_layers(nn.Flatten(), SHAPE)


def planned(network: nn.Module, share: float) -> PruningPlan:
    layers = weight_layers(network, SHAPE)
    kept = {layer.name: kept_by_share(network.get_submodule(layer.name).weight, share) for layer in layers}
    return make_weight_plan(ARCHITECTURE, layers, kept, {"share": share})


@given(kept=st.tuples(st.integers(1, 216), st.integers(1, 576), st.integers(1, 216)), seed=st.integers(0, 99))
@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
def test_plan_and_weights_alone_rebuild_the_network(
    kept: tuple[int, int, int], seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("slim")
    network = toy_network(seed).eval()
    layers = weight_layers(network, SHAPE)
    counts = dict(zip((layer.name for layer in layers), kept, strict=True))
    plan = make_weight_plan(ARCHITECTURE, layers, counts, {})
    before = {name: value.clone() for name, value in network.state_dict().items()}
    zero_weights(network, plan)
    assert nonzeros(network) == {f"{name}.weight": count for name, count in counts.items()}
    assert sparsity(network) == pytest.approx(1 - sum(kept) / sum(layer.size for layer in layers))
    for name, value in network.state_dict().items():
        stays = value != 0 if name in zeros_of(network) else torch.ones_like(value, dtype=torch.bool)
        assert torch.equal(value[stays], before[name][stays]), "what is not pruned is as it was"
    write_json(folder / "plan.json", plan)
    save_weights(network, folder / "model.safetensors")
    read = read_json(PruningPlan, folder / "plan.json")
    assert read == plan and read.keep_counts() == {n: c for n, c in counts.items() if n in plan.weights}
    assert state_equal(load_slimmed(read, folder / "model.safetensors"), network)


def test_weights_of_another_plan_are_refused(tmp_path: Path) -> None:
    network = toy_network()
    save_weights(network, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=r"'0' has 216 weights that are not zero, its plan keeps 108: .* beside the"):
        load_slimmed(planned(network, 0.5), tmp_path / "model.safetensors")


def test_finetuning_leaves_zeros_and_moves_the_rest(tmp_path: Path) -> None:
    network = toy_network()
    plan = planned(network, 0.7)
    zero_weights(network, plan)
    held = zeros_of(network)
    before = {name: value.clone() for name, value in network.named_parameters()}
    epochs: list[int] = []
    with_momentum = FinetuneSection(epochs=3, batch_size=16, learning_rate=0.05)
    fit(
        network,
        toy_data(),
        with_momentum,
        seed=0,
        hold=held,
        checkpoint=tmp_path / "checkpoint.pt",
        on_epoch=lambda report: epochs.append(sum(nonzeros(network).values())),
    )
    require_zeros(network, plan)
    assert set(epochs) == {sum(plan.keep_counts().values())}
    for name, mask in held.items():
        after = network.get_parameter(name)
        assert bool((after[~mask] != before[name][~mask]).all()) and bool((after[mask] == 0).all())
    free = toy_network()
    zero_weights(free, plan)
    fit(free, toy_data(), with_momentum, seed=0, checkpoint=tmp_path / "checkpoint.pt")
    assert sparsity(free) < 0.01, "without the mask the same training revives them; its checkpoint is another's"


def test_what_is_held_is_zero_from_the_first_step_whatever_it_was() -> None:
    network, other = toy_network(), toy_network()
    plan = planned(network, 0.5)
    zero_weights(other, plan)
    short = FinetuneSection(epochs=1, batch_size=16)
    for each in (network, other):
        fit(each, toy_data(), short, seed=0, hold=zeros_of(other))
    assert state_equal(network, other)


@pytest.mark.parametrize("hold", [{"0.weight": torch.zeros(3)}, {"9.weight": torch.zeros(3)}])
def test_a_mask_of_another_network_is_refused(hold: dict[str, torch.Tensor]) -> None:
    with pytest.raises(ValueError, match=r"hold: ..weight \(3,\): the network has"):
        fit(toy_network(), toy_data(), FinetuneSection(), seed=0, hold=hold)


@pytest.mark.parametrize(("size", "kept"), [(10, 0), (10, 11), (0, 0)])
def test_a_layer_keeps_between_one_and_all_of_its_weights(size: int, kept: int) -> None:
    with pytest.raises(ValueError, match=rf"kept is {kept}, must be within 1\.\.{size}: .* keep at least one"):
        WeightPlan(size=size, kept=kept)


def test_a_plan_removes_channels_or_weights() -> None:
    with pytest.raises(ValueError, match=r"groups and weights are both given: .* keep one"):
        PruningPlan(
            architecture=ARCHITECTURE,
            groups={"0": GroupPlan(channels=8, kept=(1,))},
            weights={"0": WeightPlan(size=216, kept=3)},
        )


@pytest.mark.parametrize(
    ("layer", "size", "words"),
    [
        ("7", 5, "'7', which this network does not have; its layers are 0, 3, 8"),
        ("0", 5, "5 weights in '0', .* has 216"),
    ],
)
def test_a_plan_of_another_network_says_so(layer: str, size: int, words: str) -> None:
    plan = PruningPlan(architecture=ARCHITECTURE, groups={}, weights={layer: WeightPlan(size=size, kept=1)})
    with pytest.raises(ModelError, match=words):
        zero_weights(toy_network(), plan)


def test_counts_for_a_layer_that_is_not_there_are_refused() -> None:
    with pytest.raises(ModelError, match="'7' has no weights to prune; the layers are 0"):
        make_weight_plan(ARCHITECTURE, [WeightLayer("0", 5)], {"7": 3}, {})
