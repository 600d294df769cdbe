"""Weights before and after pruning: the figures that say what happened to a distribution, and the table on top."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.pruning.weights import make_weight_plan, sparsity, weight_layers, zero_weights
from pipeline.records import Architecture
from pipeline.reproduce.distributions import alpha_for, bimodality, describe, over_all_layers
from pipeline.reproduce.runner import Request, run_table
from pipeline.reproduce.scale import Scale
from pipeline.reproduce.tables.purl_fig2 import LAYERS, SPARSITY, STAGES
from tests.pipeline.toy import SIDE, toy_network

SHAPE = (3, SIDE, SIDE)
RNG = np.random.default_rng(0)


@given(share=st.floats(0.05, 0.95))
def test_one_alpha_prunes_the_share_that_was_asked_for(share: float) -> None:
    network = toy_network()
    layers = weight_layers(network, SHAPE)
    _, kept = alpha_for(network, layers, share)
    zero_weights(network, make_weight_plan(Architecture(name="toy", num_classes=3, image_size=SIDE), layers, kept, {}))
    total = sum(layer.size for layer in layers)
    assert sparsity(network) == pytest.approx(share, abs=(len(layers) + 1) / total)


def test_the_coefficient_tells_one_hill_from_two() -> None:
    normal = RNG.normal(size=20_000)
    assert bimodality(normal) == pytest.approx(1 / 3, abs=0.02)
    assert bimodality(RNG.uniform(size=20_000)) == pytest.approx(5 / 9, abs=0.02)
    assert bimodality(np.array([-1.0, 1.0] * 500)) == pytest.approx(1, abs=0.02)
    pruned = bimodality(normal[np.abs(normal) > 1.15])
    assert pruned and pruned > 0.7
    assert bimodality(np.ones(9)) is None and bimodality(np.array([1.0, 2.0, 3.0])) is None


def test_pruning_empties_the_gap_and_weights_that_move_back_fill_it() -> None:
    dense = toy_network()
    layers = weight_layers(dense, SHAPE)
    alpha, kept = alpha_for(dense, layers, 0.7)
    pruned = copy.deepcopy(dense)
    zero_weights(pruned, make_weight_plan(Architecture(name="toy", num_classes=3, image_size=SIDE), layers, kept, {}))
    moved = copy.deepcopy(pruned)
    with torch.no_grad():
        weight = moved.get_submodule(layers[0].name).weight
        flat = weight.view(-1)
        flat[flat.nonzero().flatten()[:5]] *= 1e-3
    before, after, last = (describe(one, dense, layers, alpha, (1,)) for one in (dense, pruned, moved))
    assert over_all_layers(before)["in_gap"] == pytest.approx(0.7, abs=0.01)
    assert over_all_layers(after)["in_gap"] == 0.0
    assert last[0]["in_gap"] == pytest.approx(5 / last[0]["left"]) and last[1]["in_gap"] == 0.0
    assert "histogram" in before[0] and "histogram" not in before[1]
    assert over_all_layers(after)["mean"] == pytest.approx(
        sum(float(pruned.get_submodule(one.name).weight.detach().sum()) for one in layers)
        / sum(one["left"] for one in after)
    )


@pytest.mark.slow
def test_smoke_scale_runs_and_is_rendered(tmp_path: Path) -> None:
    summary, failures = run_table(
        Request("purl-fig2", Scale.smoke, seeds=1, out=tmp_path / "out", work=tmp_path / "work")
    )
    assert not failures
    results = summary.finished[0].results
    assert results["sparsity"] == pytest.approx(SPARSITY, abs=0.002)
    assert len(results["dense"]["layers"]) == 54, "ResNet-50: 53 convolutions and the classifier"
    assert results["pruned"]["over_all"]["in_gap"] == 0.0 < results["fine-tuned"]["over_all"]["in_gap"]
    assert [row.label for row in summary.rows[:3]] == [f"layer {LAYERS[0]}, {stage}" for stage in STAGES]
    assert len(summary.findings) == 3
    assert (tmp_path / "out" / "purl-fig2-smoke-distributions.png").exists()
