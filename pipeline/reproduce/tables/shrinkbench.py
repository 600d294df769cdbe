"""All channel pruning methods on the same networks, data and device, as ShrinkBench asks it (Blalock et al. 2020).

At least five operating points, compression and speed-up, top-1 and top-5 beside the dense network, several seeds,
random and magnitude controls. What it adds: the operating points are latencies, measured on the device; and what each
search cost. ShrinkBench publishes no figures for these networks, so there are none beside ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.errors import SearchError
from pipeline.reproduce import contest
from pipeline.reproduce.contest import UNIFORM, Contest, of_pair
from pipeline.reproduce.contest_scales import SCALES
from pipeline.reproduce.context import Context
from pipeline.reproduce.scale import Scale
from pipeline.reproduce.table import Cell, Column, Figures, FinishedCell, Results, Table, percent
from pipeline.reproduce.verdicts import findings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DENSE = "dense"
ACCURACY = ("top1", "top5", "predicted_speedup", "compression", "theoretical_speedup", "search_s", "evaluations")


def cells(settings: Contest, seeds: int) -> Sequence[Cell]:
    """Searches first, then what is measured: one sitting for each network and point."""
    searches: list[Cell] = []
    sittings: list[Cell] = []
    for pair in settings.pairs:
        for seed in range(min(seeds, pair.seeds or seeds)):
            common: dict[str, str | int | float] = {"pair": pair.name, "seed": seed}
            searches.append({"part": "accuracy", **common, "method": DENSE, "speedup": 1.0})
            for speedup in settings.speedups:
                of_point: dict[str, str | int | float] = {**common, "speedup": speedup}
                searches += [{"part": "accuracy", **of_point, "method": method} for method in settings.methods]
                sittings.append({"part": "latency", **of_point})
    return [*searches, *sittings]


def run(cell: Cell, context: Context[Contest]) -> Results:
    return _latency(cell, context) if cell["part"] == "latency" else _accuracy(cell, context)


def _accuracy(cell: Cell, context: Context[Contest]) -> Results:
    pair, method, seed = of_pair(context.settings, cell), str(cell["method"]), int(cell["seed"])
    if method == DENSE:
        subject = context.subject(contest.contestant(pair, {}, speedup=2.0, seed=seed))
        dense = subject.evaluate(subject.network, subject.data.test)
        return {"top1": dense.top1, "top5": dense.top5, "params": subject.shape.params({})}
    changes = context.settings.methods[method]
    subject = context.subject(contest.contestant(pair, changes, float(cell["speedup"]), seed))
    table = contest.latency_table(pair, context)
    found = contest.search(subject, table, context.folder, uniform=method.startswith(UNIFORM))
    tuned = contest.tuned_accuracy(subject, found.plan, context)
    return contest.accuracy_results(subject, found, tuned, table)


def _latency(cell: Cell, context: Context[Contest]) -> Results:
    pair, plans = of_pair(context.settings, cell), {}
    for method in context.settings.methods:
        found = context.finished({**cell, "part": "accuracy", "method": method})
        if found is not None:
            plans[method] = found["plan"]
    if lacking := [method for method in context.settings.methods if method not in plans]:
        raise SearchError(f"{', '.join(lacking)}: not searched yet, and all plans of a point share a sitting")
    sitting = contest.measure(pair, int(cell["seed"]), list(plans.values()), context)
    ratios = {
        method: {"ratio": comparison.ratio, "ci95": comparison.ci95}
        for method, comparison in zip(plans, sitting.comparisons, strict=True)
    }
    return {"ratios": ratios, "dense_ms": sitting.dense_ms}


def rows(cell: Cell, results: Results | None) -> Mapping[str, Figures]:
    if cell["part"] == "accuracy":
        label = _label(str(cell["pair"]), str(cell["method"]), float(cell["speedup"]))
        if results is None:
            return {label: dict.fromkeys(("top1", "top5") if cell["method"] == DENSE else ACCURACY)}
        return {label: {key: results[key] for key in ACCURACY if key in results}}
    if results is None:
        return {}
    ratios: Mapping[str, Any] = results["ratios"]
    return {
        _label(str(cell["pair"]), method, float(cell["speedup"])): {"speedup": 1.0 / measured["ratio"]}
        for method, measured in ratios.items()
    }


def _label(pair: str, method: str, speedup: float) -> str:
    return f"{pair}: {method}" if method == DENSE else f"{pair}: {method} at {speedup:g}x"


def depends(cell: Cell, settings: Contest) -> Any:
    """A method's cells do not change with the other methods."""
    pair = of_pair(settings, cell).model_dump(mode="json", exclude={"seeds"})
    if cell["part"] == "latency":
        return [pair, sorted(settings.methods)]
    return [pair, settings.methods.get(str(cell["method"]))]


def pictures(finished: Sequence[FinishedCell]) -> Mapping[str, Figure]:
    from pipeline.reproduce.curves import accuracy_curves

    pairs = dict.fromkeys(str(line.cell["pair"]) for line in finished)
    return {re.sub(r"\W+", "-", pair).lower(): accuracy_curves(pair, finished) for pair in pairs}


TABLE: Table[Contest] = Table(
    title="All methods at equal latency",
    source="ShrinkBench's rules (Blalock et al. 2020, What is the state of neural network pruning?)",
    scales={scale: SCALES[scale] for scale in Scale},
    cells=cells,
    run=run,
    columns=(
        percent("top1", "top-1"),
        percent("top5", "top-5"),
        Column("speedup", "faster, x", 2),
        Column("theoretical_speedup", "MACs, 1/x", 2),
        Column("compression", "weights, 1/x", 2),
        Column("evaluations", "plans", 0),
        Column("search_s", "search, s", 0),
    ),
    paper={},
    rows=rows,
    depends=depends,
    pictures=pictures,
    findings=findings,
    notes=(
        "All methods of a network share its training, its latency table, how many plans they may evaluate (those that "
        "learn), and the fine-tuning after it.",
        "faster: median latency of the dense network over the pruned one's, measured; MACs and weights: how many times "
        "fewer; plans: how many the search had evaluated.",
        "Operating points are met by the latency table; the speed-up shown is measured, all methods of a point in one "
        "sitting with the dense network.",
    ),
)
