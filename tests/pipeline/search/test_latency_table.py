"""The table predicts what a cost made of its own features says, and refuses what it does not know."""

import numpy as np
import pytest

from device_bench.records import BenchSpec, DeviceInfo, RuntimeInfo
from pipeline.config import PruningSection
from pipeline.errors import SearchError
from pipeline.pruning.costs import NetworkShape, trace_shape
from pipeline.pruning.groups import keep_values, prunable
from pipeline.search.latency_table import FEATURES, LatencyModel, LatencyTable, TablePoint, features, relative_errors
from pipeline.search.profile import random_variants
from pipeline.search.uniform import nearest_keep, share_at, uniform_counts
from tests.pipeline.pruning.conftest import SHAPE, dense, dense_groups

SETTINGS = PruningSection()
GROUPS = prunable(dense_groups("mobilenet_v2"))
DEVICE = DeviceInfo(id="d", kind="fake", model="m", os="o", abi="a")


@pytest.fixture(scope="module")
def shape() -> NetworkShape:
    return trace_shape(dense("mobilenet_v2"), dense_groups("mobilenet_v2"), SHAPE)


def truth(shape: NetworkShape, counts: dict[str, int]) -> float:
    weights = np.linspace(1.0, 2.0, len(FEATURES))
    return float(features(shape, counts) @ weights / (features(shape, {}) @ weights))


def table_of(points: list[TablePoint]) -> LatencyTable:
    return LatencyTable(
        device=DEVICE,
        runtime=RuntimeInfo(name="litert", version="1", runner="r"),
        spec=BenchSpec(),
        built_at="2026-01-01T00:00:00+00:00",
        dense_ms=2.0,
        channels={group.name: group.channels for group in GROUPS},
        smallest={group.name: keep_values(group.channels, SETTINGS)[0] for group in GROUPS},
        points=tuple(points),
        error=None,
    )


def test_it_predicts_networks_that_it_was_not_fitted_on(shape: NetworkShape) -> None:
    variants = random_variants(GROUPS, 40, SETTINGS, seed=0)
    points = [TablePoint(keep_counts=counts, ratio=truth(shape, counts)) for counts in variants]
    model = LatencyModel(shape, table_of(points[:30]))
    error = relative_errors(model, points[30:])
    assert error.n == 10 and error.p90 < 0.01
    assert model.ratio({group.name: group.channels for group in GROUPS}) == pytest.approx(1.0, rel=0.02)


def test_what_is_measured_later_corrects_it(shape: NetworkShape) -> None:
    variants = random_variants(GROUPS, 12, SETTINGS, seed=1)
    wrong = [TablePoint(keep_counts=counts, ratio=truth(shape, counts) ** 1.3) for counts in variants]
    model = LatencyModel(shape, table_of(wrong))
    counts = uniform_counts(GROUPS, 0.4, SETTINGS)
    before = abs(model.ratio(counts) / truth(shape, counts) - 1)
    for _ in range(10):
        model.observe(counts, truth(shape, counts))
    assert abs(model.ratio(counts) / truth(shape, counts) - 1) < before / 2


def test_it_does_not_extrapolate(shape: NetworkShape) -> None:
    model = LatencyModel(shape, table_of([TablePoint(keep_counts={}, ratio=1.0)]))
    with pytest.raises(SearchError, match=r"holds 8 to 32 channels for features\.0\.0, and was asked about 4"):
        model.ratio({"features.0.0": 4})


def test_it_serves_its_own_device_and_spec_alone() -> None:
    table = table_of([])
    assert table.require(DEVICE, BenchSpec()) is table
    for device, spec in (
        (DEVICE.model_copy(update={"id": "another"}), BenchSpec()),
        (DEVICE, BenchSpec(threads=2)),
    ):
        with pytest.raises(SearchError, match="was built on d"):
            table.require(device, spec)


def test_variants_cover_the_whole_range() -> None:
    variants = random_variants(GROUPS, 20, SETTINGS, seed=0)
    assert variants == random_variants(GROUPS, 20, SETTINGS, seed=0)
    kept = sorted(sum(v.values()) / sum(group.channels for group in GROUPS) for v in variants)
    assert kept[0] < 0.2 and kept[-1] > 0.9
    for variant in variants:
        assert all(variant[group.name] in keep_values(group.channels, SETTINGS) for group in GROUPS)


def test_bisection_finds_the_nearest_step() -> None:
    def cost(share: float) -> float:
        return round(share * 8) / 8  # a staircase

    for wanted in (0.3, 0.5, 0.93):
        found = cost(share_at(wanted, cost, lowest=0.1))
        assert abs(found - wanted) <= 1 / 16 + 1e-3
    assert nearest_keep(64, 0.5, SETTINGS) == 32
    assert nearest_keep(24, 0.5, SETTINGS) == 16  # 8 and 16 are equally near: the larger
