"""What each chart shows, as plain numbers: the page's charts and the pictures draw the same series."""

from __future__ import annotations

import math
from dataclasses import dataclass

from device_bench.records import LatencyStats
from pipeline.report.results import Results
from pipeline.report.rows import Row

# Okabe and Ito's colours, told apart with every common colour blindness; shapes and dashes say the same again.
COLOURS = {"dense": "#4d4d4d", "uniform": "#e69f00", "pruned": "#0072b2", "random": "#cc79a7"}
SPARE_COLOURS = ("#009e73", "#d55e00", "#56b4e9", "#a6761d")
COLOUR_REWARD, COLOUR_ACCURACY, COLOUR_LATENCY = "#0072b2", "#009e73", "#d55e00"
CURVE_POINTS = 200
STAIRCASES = 6
FEW_EDGES = 25
"""Right edges that stand apart when they are drawn large."""


@dataclass(frozen=True)
class Point:
    """One ranked row of the accuracy-latency plane; intervals are None where there is none."""

    label: str
    variant: str
    precision: str
    device: str
    latency_ms: float
    latency_ci95: tuple[float, float] | None
    top1: float
    top1_ci95: tuple[float, float]


@dataclass(frozen=True)
class Distribution:
    """Share of inferences (0..1) that were done within each latency."""

    label: str
    variant: str
    precision: str
    latency_ms: tuple[float, ...]
    share: tuple[float, ...]


@dataclass(frozen=True)
class KeptChannels:
    """Channels of each group, in the order of the network, and how many each variant keeps."""

    groups: tuple[str, ...]
    dense: tuple[int, ...]
    kept: dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class KeptWeights:
    """Share of each layer's weights that each variant keeps, in the order of the network."""

    layers: tuple[str, ...]
    kept: dict[str, tuple[float, ...]]


@dataclass(frozen=True)
class Staircase:
    """What the layers that write a group's channels take alone, by how many channels there are."""

    group: str
    channels: tuple[int, ...]
    latency_ms: tuple[float, ...]
    edges: tuple[int, ...]
    """The counts that the search offers: one more channel costs a step."""


@dataclass(frozen=True)
class EpisodePoint:
    index: int
    kind: str
    reward: float | None
    """Of the whole plan: its last step's, since agents' episodes are paid at every step and whole plans once."""
    best_reward: float | None
    """Of this and all earlier episodes."""
    top1: float | None
    """Of one that was given up: where it was."""
    cost_ratio: float | None
    """Of the latency, the MACs or the weights that the search was paid for; this and `reward` of a whole plan alone."""
    modelled: bool
    """Whether that is the latency table's answer, not the device's."""
    failure: str | None


def colour(variant: str, variants: tuple[str, ...]) -> str:
    """The variant's own colour; one that has none takes the spare ones in turn."""
    if variant in COLOURS:
        return COLOURS[variant]
    others = [name for name in dict.fromkeys(variants) if name not in COLOURS]
    return SPARE_COLOURS[others.index(variant) % len(SPARE_COLOURS)] if variant in others else SPARE_COLOURS[0]


def log_ticks(values: list[float]) -> list[float]:
    """1, 2, 5, 10, ... over the range of the values, one beyond each end."""
    low, high = math.floor(math.log10(min(values))) - 1, math.ceil(math.log10(max(values))) + 1
    ticks = [digit * 10.0**power for power in range(low, high + 1) for digit in (1, 2, 5)]
    first = max(index for index, tick in enumerate(ticks) if tick <= min(values))
    last = min(index for index, tick in enumerate(ticks) if tick >= max(values))
    return ticks[first : last + 1]


def accuracy_latency(rows: tuple[Row, ...]) -> tuple[Point, ...]:
    """The rows that may be ranked; one that failed a check has no place in the picture."""
    points = []
    for row in rows:
        if not row.ranked or row.artifact is None or row.artifact.evaluation is None or row.measurement is None:
            continue
        stats, evaluation = row.measurement.latency_ms, row.artifact.evaluation
        points.append(
            Point(
                label=row.label,
                variant=row.variant.name,
                precision=row.artifact.precision,
                device=f"{row.measurement.device.model} ({row.measurement.device.kind})",
                latency_ms=row.measurement.median_ms,
                latency_ci95=stats.ci95,
                top1=evaluation.top1,
                top1_ci95=evaluation.ci95,
            )
        )
    return tuple(points)


def distributions(rows: tuple[Row, ...]) -> tuple[Distribution, ...]:
    found = []
    for row in rows:
        if not row.ranked or row.artifact is None or row.measurement is None:
            continue
        latency_ms, share = _cumulative(row.measurement.latency_ms)
        found.append(Distribution(row.label, row.variant.name, row.artifact.precision, latency_ms, share))
    return tuple(found)


def _cumulative(stats: LatencyStats) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The empirical distribution at no more than `CURVE_POINTS` points, or the stored percentiles without samples."""
    samples = sorted(sample for sample in stats.samples or () if math.isfinite(sample) and sample > 0)
    if not samples:
        stored = (stats.min, stats.p5, stats.median, stats.p90, stats.p95, stats.p99, stats.max)
        shares = (0.0, 0.05, 0.5, 0.9, 0.95, 0.99, 1.0)
        known = [(value, share) for value, share in zip(stored, shares, strict=True) if value is not None]
        return tuple(value for value, _ in known), tuple(share for _, share in known)
    count = min(len(samples), CURVE_POINTS)
    ranks = [max(1, round(len(samples) * (i + 1) / count)) for i in range(count)]
    return tuple(samples[rank - 1] for rank in ranks), tuple(rank / len(samples) for rank in ranks)


def kept_channels(results: Results) -> KeptChannels | None:
    sliced = {variant.name: variant.record.groups for variant in results.variants if variant.record.groups}
    pruned = sliced.get("pruned") or next(iter(sliced.values()), None)
    if not pruned:
        return None
    groups = tuple(pruned)
    kept = {
        name: tuple(counts[group].kept_count if group in counts else pruned[group].channels for group in groups)
        for name, counts in sliced.items()
        if name != "dense"
    }
    return KeptChannels(groups, tuple(pruned[group].channels for group in groups), kept) if kept else None


def kept_weights(results: Results) -> KeptWeights | None:
    zeroed = {variant.name: variant.record.weights for variant in results.variants if variant.record.weights}
    pruned = zeroed.get("pruned")
    if not pruned:
        return None
    kept = {
        name: tuple(layers[layer].kept / layers[layer].size if layer in layers else 1.0 for layer in pruned)
        for name, layers in zeroed.items()
        if name != "dense"
    }
    return KeptWeights(tuple(pruned), kept)


def learning_curve(results: Results) -> tuple[EpisodePoint, ...]:
    best: float | None = None
    points = []
    for episode in results.episodes:
        whole = episode.failure is None
        reward = episode.steps[-1].reward if whole and math.isfinite(episode.steps[-1].reward) else None
        if reward is not None:
            best = reward if best is None else max(best, reward)
        points.append(
            EpisodePoint(
                index=episode.index,
                kind=episode.kind,
                reward=reward,
                best_reward=best,
                top1=episode.evaluation.top1 if episode.evaluation else None,
                cost_ratio=episode.cost_ratio if whole and math.isfinite(episode.cost_ratio) else None,
                modelled=episode.latency_source == "table",
                failure=episode.failure,
            )
        )
    return tuple(points)


def hybrid_errors(results: Results) -> tuple[float, ...]:
    """Predicted / measured - 1, in percent: of each network that the search measured, before the table learned it."""
    errors = results.search.hybrid_errors if results.search else ()
    return tuple(100 * error for error in errors if math.isfinite(error))


def staircases(results: Results) -> tuple[Staircase, ...]:
    """The groups of the first device with measured ones whose channels cost most, in the order of the network."""
    tables = results.latency_tables.tables if results.latency_tables else ()
    table = next((table for table in tables if table.staircases), None)
    if table is None:
        return ()
    costs = {group: dict(sorted(stairs.items())) for group, stairs in table.staircases.items() if len(stairs) > 2}
    dearest = sorted(costs, key=lambda group: max(costs[group].values()), reverse=True)[:STAIRCASES]
    return tuple(
        Staircase(
            group=group,
            channels=tuple(stairs),
            latency_ms=tuple(ratio * table.dense_ms for ratio in stairs.values()),
            edges=tuple(edge for edge in table.steps.get(group, ()) if edge in stairs),
        )
        for group, stairs in costs.items()
        if group in dearest
    )
