"""What a contest's finished cells say: our method against each other one, and what files without zeros save."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from pipeline.reproduce.table import FinishedCell

OURS = "ours"
Accuracies = Mapping[str, Mapping[float, Sequence[float]]]
"""Top-1 of each seed, by method and operating point."""


def findings(finished: Sequence[FinishedCell]) -> tuple[str, ...]:
    """One sentence for each rival and pair, losses included; none for what has not been run."""
    sentences = []
    for pair in dict.fromkeys(str(line.cell["pair"]) for line in finished):
        found = accuracies(finished, pair)
        if OURS in found:
            sentences += [_against(pair, rival, found) for rival in found if rival not in (OURS, "dense")]
        sentences += [_measurements(pair, finished), _sparse_files(pair, finished)]
    return tuple(sentence for sentence in sentences if sentence)


def accuracies(finished: Sequence[FinishedCell], pair: str) -> Accuracies:
    found: dict[str, dict[float, list[float]]] = {}
    for line in finished:
        if line.cell["pair"] == pair and line.cell["part"] == "accuracy":
            points = found.setdefault(str(line.cell["method"]), {})
            points.setdefault(float(line.cell["speedup"]), []).append(float(line.results["top1"]))
    return found


def _against(pair: str, rival: str, found: Accuracies) -> str:
    """Differences at the points that both have been run at with the same number of seeds."""
    ours, theirs = found[OURS], found[rival]
    points = [point for point in sorted(ours) if len(ours[point]) == len(theirs.get(point, ()))]
    if not points:
        return ""
    gains = {point: statistics.fmean(ours[point]) - statistics.fmean(theirs[point]) for point in points}
    one_seed = all(len(ours[point]) == 1 for point in points)
    behind = [f"{point:g}x" for point in points if gains[point] < -_deviation(ours[point], theirs[point])]
    each = ", ".join(f"{100 * gain:+.1f} at {point:g}x" for point, gain in gains.items())
    by = "" if one_seed else " by more than a standard deviation"
    verdict = f"behind{by} at {', '.join(behind)}" if behind else f"nowhere behind{by}"
    verdict += " (one seed)" if one_seed else ""
    mean = statistics.fmean(gains.values())
    return f"{pair}: {OURS} against {rival}, points of top-1: {each}; mean {100 * mean:+.2f}; {verdict}."


def _deviation(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The larger of the two methods' standard deviations over seeds; of one seed there is none."""
    return max((statistics.stdev(values) for values in (ours, theirs) if len(values) > 1), default=0.0)


def _measurements(pair: str, finished: Sequence[FinishedCell]) -> str:
    """What the searches cost the device."""
    tables = [line.results.get("device_measurements") for line in finished if line.cell["pair"] == pair]
    counts = dict.fromkeys(str(count) for count in tables if count is not None)
    if not counts:
        return ""
    return f"{pair}: one latency table, of {' or '.join(counts)} measurements, serves all searches; none measures more."


def _sparse_files(pair: str, finished: Sequence[FinishedCell]) -> str:
    """Means over the seeds' sittings."""
    sittings = [
        line.results for line in finished if line.cell["pair"] == pair and line.cell["part"] == "sparse latency"
    ]
    if not sittings:
        return ""
    each = []
    for name in sittings[0]["files"]:
        pairs = [(sitting, sitting["files"][name]) for sitting in sittings]
        smaller = statistics.fmean(sitting["dense_bytes"] / one["bytes"] for sitting, one in pairs)
        faster = statistics.fmean(1.0 / one["ratio"] for _, one in pairs)
        each.append(f"{name} {smaller:.2f}x smaller, {faster:.2f}x as fast")
    devices = " and ".join(dict.fromkeys(str(sitting["device"]) for sitting in sittings))
    kernels = [one["sparse_kernels"] for sitting in sittings for one in sitting["files"].values()]
    return f"{pair}: files that store no zeros against the dense one on {devices}: {'; '.join(each)}. {_used(kernels)}"


def _used(kernels: Sequence[int | None]) -> str:
    known = [count for count in kernels if count is not None]
    if len(known) < len(kernels):
        return "Whether sparse kernels ran there, the profile does not tell."
    if not any(known):
        return "The runtime unpacked them there, and computed with the zeros."
    return f"{min(known)} to {max(known)} operations of each ran on sparse kernels."
