"""The table predicts what it was not fitted on, and refuses what it does not know."""

import numpy as np
import pytest

from device_bench.records import BenchSpec
from pipeline.errors import SearchError
from pipeline.pruning.costs import NetworkShape
from pipeline.pruning.groups import keep_values
from pipeline.search.latency_model import TablePoint
from pipeline.search.latency_table import LatencyModel, TableError
from pipeline.search.profile import random_variants
from pipeline.search.uniform import nearest_keep, share_at, uniform_counts
from tests.pipeline.search.tables import DEVICE, GRID, GROUPS, RUNTIME, SETTINGS, shape_of, table_of, truth


@pytest.fixture(scope="module")
def shape() -> NetworkShape:
    return shape_of()


def test_it_predicts_networks_that_it_was_not_fitted_on(shape: NetworkShape) -> None:
    variants = random_variants(GRID, 40, SETTINGS, seed=0)
    points = [TablePoint(keep_counts=counts, ratio=truth(shape, counts)) for counts in variants]
    model = LatencyModel(shape, table_of(points[:30]))
    error = TableError.of(model.errors(points[30:]))
    assert error.n == 10 and error.p90 < 0.01 and error.worst is not None and error.worst >= error.p90
    assert model.ratio({group.name: group.channels for group in GROUPS}) == pytest.approx(1.0, rel=0.02)


def test_what_is_measured_later_corrects_it(shape: NetworkShape) -> None:
    variants = random_variants(GRID, 12, SETTINGS, seed=1)
    wrong = [TablePoint(keep_counts=counts, ratio=truth(shape, counts) ** 1.3) for counts in variants]
    model = LatencyModel(shape, table_of(wrong))
    counts = uniform_counts(GRID, 0.4)
    before = abs(model.ratio(counts) / truth(shape, counts) - 1)
    for _ in range(10):
        model.observe(counts, truth(shape, counts))
    assert abs(model.ratio(counts) / truth(shape, counts) - 1) < before / 2


def test_it_does_not_extrapolate(shape: NetworkShape) -> None:
    model = LatencyModel(shape, table_of([TablePoint(keep_counts={}, ratio=1.0)]))
    with pytest.raises(
        SearchError, match=r"of 2026-01-01.* \(m, litert 1\) holds 8 to 32 channels for features\.0\.0, and was asked"
    ):
        model.ratio({"features.0.0": 4})


def test_it_serves_its_own_device_runtime_and_spec_alone() -> None:
    table = table_of([])
    assert table.require(DEVICE, RUNTIME, BenchSpec()) is table
    another = DEVICE.model_copy(update={"id": "another"})
    newer = RUNTIME.model_copy(update={"version": "2"})
    for device, runtime, spec, named in (
        (another, RUNTIME, BenchSpec(), "device"),
        (DEVICE, newer, BenchSpec(), "runtime"),
        (DEVICE, RUNTIME, BenchSpec(threads=2), "spec"),
    ):
        with pytest.raises(SearchError, match=f"of 2026-01-01.* was built with {named}"):
            table.require(device, runtime, spec)


def test_variants_cover_the_whole_range() -> None:
    variants = random_variants(GRID, 20, SETTINGS, seed=0)
    assert variants == random_variants(GRID, 20, SETTINGS, seed=0)
    kept = sorted(sum(v.values()) / sum(group.channels for group in GROUPS) for v in variants)
    assert kept[0] < 0.3 and kept[-1] > 0.85
    for variant in variants:
        assert all(variant[group.name] in keep_values(group.channels, SETTINGS) for group in GROUPS)


def test_bisection_finds_the_nearest_step() -> None:
    def cost(share: float) -> float:
        return round(share * 8) / 8  # a staircase

    for wanted in (0.3, 0.5, 0.93):
        found = cost(share_at(wanted, cost, lowest=0.1))
        assert abs(found - wanted) <= 1 / 16 + 1e-3
    assert nearest_keep((16, 32, 48, 64), 0.5) == 32
    assert nearest_keep((8, 16, 24), 0.5) == 16  # 8 and 16 are equally near: the larger


def test_errors_are_told_by_their_size() -> None:
    error = TableError.of([-0.04, 0.01, 0.02])
    assert (error.median, error.worst, error.n) == (0.02, 0.04, 3)
    assert error.p90 == pytest.approx(np.percentile([0.04, 0.01, 0.02], 90))
