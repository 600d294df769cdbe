"""The profile stage: measure random variants on each device, and fit its latency table to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import numpy as np

from pipeline.config import PruningSection
from pipeline.pruning.costs import NetworkShape
from pipeline.pruning.groups import ChannelGroup, keep_values
from pipeline.search.latency_table import LatencyModel, LatencyTable, TablePoint, relative_errors
from pipeline.search.meter import LatencyMeter, MeasuredPlan
from pipeline.search.uniform import scaled_counts

SPREAD = 0.35
"""Standard deviation of the logarithm of a group's share around its variant's."""


def random_variants(
    groups: Sequence[ChannelGroup], count: int, settings: PruningSection, seed: int
) -> list[dict[str, int]]:
    """Channel counts from the smallest network to the dense one, each group drawn around its variant's share."""
    rng = np.random.default_rng(seed)
    shares = rng.permutation(np.linspace(settings.min_keep, 1.0, count))
    return [
        scaled_counts(groups, {g.name: float(np.exp(rng.normal(0.0, SPREAD))) for g in groups}, share, settings)
        for share in shares
    ]


def build_table(
    meter: LatencyMeter,
    shape: NetworkShape,
    settings: PruningSection,
    *,
    fit_variants: int,
    check_variants: int,
    seed: int,
    on_result: Callable[[int, int], None] | None = None,
) -> tuple[LatencyTable, list[MeasuredPlan]]:
    """Measure fit + check variants; the check variants take no part in the fit and give its error."""
    total = fit_variants + check_variants
    plans = random_variants(meter.groups, total, settings, seed)
    measured = meter.measure_many(plans, on_result and (lambda done: on_result(done, total)))
    points = [TablePoint(keep_counts=line.keep_counts, ratio=line.ratio) for line in measured]
    table = LatencyTable(
        device=measured[0].device,
        runtime=measured[0].runtime,
        spec=meter.spec,
        built_at=datetime.now(UTC).isoformat(timespec="seconds"),
        dense_ms=float(np.median([line.dense_ms for line in measured])),
        channels={group.name: group.channels for group in meter.groups},
        smallest={group.name: keep_values(group.channels, settings)[0] for group in meter.groups},
        points=tuple(points[:fit_variants]),
        error=None,
    )
    error = relative_errors(LatencyModel(shape, table), points[fit_variants:])
    return table.model_copy(update={"error": error}), measured
