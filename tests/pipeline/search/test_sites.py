"""The facts of a site are those that can be computed by hand, and the states show them normalised."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pipeline.config import PruningSection
from pipeline.pruning.costs import trace_shape
from pipeline.pruning.groups import find_groups, prunable
from pipeline.search import features
from pipeline.search.features import STATES, Progress
from pipeline.search.sites import SiteFacts, effective_rank, facts_of_groups, facts_of_layers

INPUT = (3, 8, 8)


def network() -> nn.Module:
    """A stem, a depthwise and a linear layer: (4, 8, 8), (4, 4, 4), 5."""
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, stride=2, padding=1, groups=4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64, 5),
    )
    return layers.eval()


def facts(**changes: float) -> SiteFacts:
    plain = SiteFacts(
        index=0,
        is_conv=True,
        is_fc=False,
        in_channels=3,
        out_channels=4,
        stride=1,
        kernel=3,
        weights=108,
        macs=0.5,
        largest_singular_value=2.0,
        effective_rank=0.5,
    )
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]


def walk(sites: tuple[SiteFacts, ...], done: int = 0) -> Progress:
    shares = [0.25 + 0.1 * step for step in range(done)]
    return Progress(n_sites=len(sites), accuracy=shares, saved=shares, pruned=shares, facts=sites, macs_reduced=shares)


def test_layers_have_their_shape_and_their_share_of_the_work() -> None:
    net = network()
    shape = trace_shape(net, (), INPUT)
    stem, depthwise, linear = facts_of_layers(net, ["0", "2", "5"], shape)
    macs = np.array([108 * 64, 36 * 16, 320])
    np.testing.assert_allclose([stem.macs, depthwise.macs, linear.macs], macs / macs.sum())
    assert (stem.in_channels, stem.out_channels, stem.stride, stem.kernel, stem.weights) == (3, 4, 1, 3, 108)
    assert (depthwise.in_channels, depthwise.stride, depthwise.weights) == (1, 2, 36)
    assert (linear.in_channels, linear.stride, linear.kernel, linear.is_conv, linear.is_fc) == (64, 1, 1, False, True)
    assert [site.index for site in (stem, depthwise, linear)] == [0, 1, 2]


def test_a_group_is_all_that_writes_it_and_looks_like_the_first() -> None:
    net = network()
    groups = prunable(find_groups(net, INPUT, PruningSection(round_to=1)))
    (site,) = facts_of_groups(net, groups, trace_shape(net, groups, INPUT))
    assert (site.in_channels, site.kernel, site.weights) == (3, 3, 108 + 36)
    assert site.macs == pytest.approx((108 * 64 + 36 * 16) / (108 * 64 + 36 * 16 + 320))


def test_a_layer_that_runs_twice_works_twice() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.head = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.head(self.layer(self.layer(images)))
            return result

    net = Twice()
    layer, head = facts_of_layers(net, ["layer", "head"], trace_shape(net, (), INPUT))
    assert layer.macs == pytest.approx(2 / 3) and head.macs == pytest.approx(1 / 3) and layer.weights == 9


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (4, 3, 3, 3)])
def test_singular_values_are_those_of_one_row_for_each_filter(shape: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    layer: nn.Module = nn.Linear(shape[1], shape[0]) if len(shape) == 2 else nn.Conv2d(shape[1], shape[0], 3)
    image = (shape[1], 1, 1) if len(shape) == 2 else (3, 8, 8)
    net = nn.Sequential(nn.Flatten(), layer) if len(shape) == 2 else nn.Sequential(nn.Identity(), layer)
    (site,) = facts_of_layers(net, ["1"], trace_shape(net, (), image))
    values = torch.linalg.svdvals(layer.get_parameter("weight").detach().flatten(1).double()).numpy()
    assert site.largest_singular_value == pytest.approx(values[0])
    assert site.effective_rank == effective_rank(values**2)


def test_the_effective_rank_holds_nine_tenths_of_the_energy() -> None:
    assert effective_rank(np.array([9.0, 1.0, 0.0, 0.0])) == 0.25
    assert effective_rank(np.array([8.9, 1.1, 0.0, 0.0])) == 0.5
    assert effective_rank(np.zeros(3)) == 0.0


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=12))
def test_no_smaller_rank_would_hold_it(values: list[float]) -> None:
    energies = np.sort(np.array(values))[::-1]
    n = round(effective_rank(energies) * len(energies))
    assert 1 <= n <= len(energies)
    assert energies[:n].sum() >= 0.9 * energies.sum() * (1 - 1e-6)
    assert energies[: n - 1].sum() < 0.9 * energies.sum()


def test_the_explainable_state_is_the_nine_features_of_the_site_that_comes_next() -> None:
    sites = (
        facts(),
        facts(index=1, is_conv=False, is_fc=True, in_channels=11, macs=0.2, largest_singular_value=4.0),
        facts(index=2, in_channels=5, macs=0.1, effective_rank=1.0),
    )
    names = features.names("explainable", 3)
    first, second = (dict(zip(names, STATES["explainable"](walk(sites, done)), strict=True)) for done in (0, 1))
    assert len(names) == 9
    assert first == pytest.approx(dict.fromkeys(names, 0.0) | {"is_conv": 1.0, "rest": 0.3})
    assert second == pytest.approx(
        {
            "index": 0.5,
            "largest_singular_value": 1.0,
            "effective_rank": 0.0,
            "is_conv": 0.0,
            "is_fc": 1.0,
            "in_channels": 1.0,
            "reduced": 0.25,
            "rest": 0.1,
            "last_action": 0.25,
        }
    )


def test_the_amc_state_has_the_shape_of_the_site() -> None:
    sites = (facts(), facts(index=1, out_channels=12, stride=2, kernel=1, weights=12, macs=0.1))
    state = dict(zip(features.names("amc", 2), STATES["amc"](walk(sites, 1)), strict=True))
    fixed = {"index": 1, "is_conv": 1, "in_channels": 0, "out_channels": 1, "stride": 1, "kernel": 0, "weights": 0}
    assert state == pytest.approx({**fixed, "reduced": 0.25, "rest": 0.0, "last_action": 0.25})


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("done", [0, 1, 3])
def test_every_state_has_a_name_for_each_number_and_stays_within_bounds(state: str, done: int) -> None:
    sites = tuple(facts(index=index, weights=10**index, macs=0.3) for index in range(3))
    shown = STATES[state](walk(sites, done))
    assert shown.shape == (len(features.names(state, 3)),) and shown.dtype == np.float32
    assert shown.min() >= 0.0 and shown.max() <= 1.0
