"""The fit: the right estimator is kept, and a bad measurement of the dense network spoils one sitting, not the fit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.pruning.costs import NetworkShape
from pipeline.search.latency_model import ESTIMATORS, Features, TablePoint, choose, fit
from pipeline.search.layer_times import LayerKey, LayerPoint, LayerTimes, layer_grid
from pipeline.search.profile import random_variants
from tests.pipeline.search.tables import GRID, SETTINGS, layer_cost, shape_of, timed, truth


@pytest.fixture(scope="module")
def shape() -> NetworkShape:
    return shape_of()


@pytest.fixture(scope="module")
def times(shape: NetworkShape) -> LayerTimes:
    return LayerTimes(shape, timed(layer_grid(shape, 8)))


def of_layers(shape: NetworkShape, counts: dict[str, int]) -> float:
    """What a network costs whose layers cost what they cost alone."""
    inputs, outputs = shape.channels(counts)
    return sum(
        layer_cost(LayerPoint(key=LayerKey.of(layer), in_channels=int(i), out_channels=int(o)))
        for layer, i, o in zip(shape.layers, inputs, outputs, strict=True)
    )


def points_of(shape: NetworkShape, count: int, seed: int = 0) -> list[TablePoint]:
    whole = of_layers(shape, {})
    variants = random_variants(GRID, count, SETTINGS, seed=seed)
    return [
        TablePoint(keep_counts=counts, ratio=of_layers(shape, counts) / whole, sitting=i // 10)
        for i, counts in enumerate(variants)
    ]


def test_layers_that_add_up_are_predicted_by_their_own_times(shape: NetworkShape, times: LayerTimes) -> None:
    points = points_of(shape, 60)
    features = Features(shape, times, "layers")
    weights = fit(features.rows(points[:40]), points[:40])
    missed = features.rows(points[40:]) @ weights / [point.ratio for point in points[40:]] - 1
    assert np.abs(missed).max() < 0.01


def test_the_estimator_that_predicts_best_is_kept(shape: NetworkShape, times: LayerTimes) -> None:
    assert choose(shape, times, points_of(shape, 40)) in ("layers", "combined")
    tiles = [
        TablePoint(keep_counts=counts, ratio=truth(shape, counts))
        for counts in random_variants(GRID, 40, SETTINGS, seed=2)
    ]
    assert choose(shape, times, tiles) in ("tiles", "combined")
    assert choose(shape, None, tiles) == "tiles"


@pytest.mark.parametrize("off", [0.8, 1.25])
def test_a_sitting_that_is_off_does_not_bend_the_fit(shape: NetworkShape, times: LayerTimes, off: float) -> None:
    points = points_of(shape, 60)
    bent = [point.model_copy(update={"ratio": point.ratio * off}) if point.sitting == 2 else point for point in points]
    features = Features(shape, times, "layers")
    rows = features.rows(points)
    weights = fit(rows, bent)
    assert np.median(np.abs(rows @ weights / [point.ratio for point in points] - 1)) < 0.02


@given(share=st.floats(0.0, 1.0), seed=st.integers(0, 99))
def test_features_are_never_negative_and_fall_with_the_channels(share: float, seed: int) -> None:
    shape = shape_of()
    rng = np.random.default_rng(seed)
    whole = {name: counts[-1] for name, counts in GRID.items()}
    fewer = {name: int(rng.choice(counts)) if rng.random() < share else counts[-1] for name, counts in GRID.items()}
    for name in ESTIMATORS:
        features = Features(shape, LayerTimes(shape, timed(layer_grid(shape, 8))), name)
        small, large = features.row(fewer), features.row(whole)
        assert (small >= 0).all() and (small <= large * (1 + 1e-9)).all()
