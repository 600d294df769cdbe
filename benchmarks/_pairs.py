"""Two ways of timing the same thing, in alternating pairs: a machine that warms up or slows down favours neither."""

from __future__ import annotations

import json
from collections.abc import Callable
from statistics import median
from typing import Any

from device_bench import stats


def alternate(
    ours: Callable[[], float], theirs: Callable[[], float], pairs: int, limits: tuple[float, float]
) -> dict[str, Any]:
    """Medians of both in ms, the ratio of ours to theirs with its 95% interval, and whether that keeps the limits."""
    figures: tuple[list[float], list[float]] = ([], [])
    for pair in range(pairs):
        turns = [(ours, figures[0]), (theirs, figures[1])]
        for measure, taken in reversed(turns) if pair % 2 else turns:
            taken.append(measure())
    ratios = [mine / other for mine, other in zip(*figures, strict=True)]
    low, high = stats.median_ci([ratios])
    return {
        "pairs": pairs,
        "ours_ms": median(figures[0]),
        "theirs_ms": median(figures[1]),
        "ratio": median(ratios),
        "ci95": [low, high],
        "limits": list(limits),
        "within_limits": limits[0] <= low and high <= limits[1],
    }


def report(what: str, result: dict[str, Any]) -> None:
    """Print the result; the program ends with exit code 1 where the limits are not kept."""
    (low, high), limits = result["ci95"], result["limits"]
    print(
        f"{what} = {result['ratio']:.4f} (95%: {low:.4f} to {high:.4f}, {result['pairs']} pairs); "
        f"the interval lies {'within' if result['within_limits'] else 'NOT within'} {limits[0]} to {limits[1]}"
    )
    print(json.dumps(result))
    if not result["within_limits"]:
        raise SystemExit(1)
