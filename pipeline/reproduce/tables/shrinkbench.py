"""All pruning methods on the same networks, data and device, as ShrinkBench asks it (Blalock et al. 2020).

At least five operating points, compression and speed-up, top-1 and top-5 beside the dense network, several seeds,
random and magnitude controls. What it adds: the operating points are latencies, measured on the device; and what each
search cost. Weight pruning has rows of its own, at sparsities: how far it compresses, and how fast its files really
are. ShrinkBench publishes no figures for these networks, so there are none beside ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.errors import SearchError
from pipeline.reproduce import contest, contest_weights
from pipeline.reproduce.contest import UNIFORM, Contest, of_pair, sparse_name
from pipeline.reproduce.contest_scales import SCALES
from pipeline.reproduce.context import Context
from pipeline.reproduce.scale import Scale
from pipeline.reproduce.table import Cell, Column, Figures, FinishedCell, Results, Table, percent
from pipeline.reproduce.verdicts import findings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DENSE = "dense"
PARTS = ("accuracy", "latency", "weights", "sparse latency")
ACCURACY = ("top1", "top5", "compression", "theoretical_speedup", "search_s", "evaluations")


def cells(settings: Contest, seeds: int) -> Sequence[Cell]:
    """Searches first, then what is measured: one sitting for each network and point, one for all its sparse files."""
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
            searches += [{"part": "weights", **common, **point} for point in _sparse_points(settings)]
            if settings.weight_methods:
                sittings.append({"part": "sparse latency", **common})
    return [*searches, *sittings]


def _sparse_points(settings: Contest) -> list[dict[str, str | float]]:
    return [
        {"method": name, "sparsity": sparsity}
        for name, method in settings.weight_methods.items()
        for sparsity in method.sparsities
    ]


def run(cell: Cell, context: Context[Contest]) -> Results:
    parts = dict(zip(PARTS, (_accuracy, _latency, _weights, _sparse_latency), strict=True))
    return parts[str(cell["part"])](cell, context)


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


def _weights(cell: Cell, context: Context[Contest]) -> Results:
    pair, method = of_pair(context.settings, cell), context.settings.weight_methods[str(cell["method"])]
    return contest_weights.sparse_accuracy(pair, method, float(cell["sparsity"]), int(cell["seed"]), context)


def _sparse_latency(cell: Cell, context: Context[Contest]) -> Results:
    pair, plans, lacking = of_pair(context.settings, cell), {}, []
    for point in _sparse_points(context.settings):
        name = sparse_name(str(point["method"]), float(point["sparsity"]))
        found = context.finished({**cell, "part": "weights", **point})
        if found is None:
            lacking.append(name)
        else:
            plans[name] = found["plan"]
    if lacking:
        raise SearchError(f"{'; '.join(lacking)}: not searched yet, and all sparse files share a sitting")
    return contest_weights.measure_sparse(pair, int(cell["seed"]), plans, context)


def rows(cell: Cell, results: Results | None) -> Mapping[str, Figures]:
    pair, part = str(cell["pair"]), cell["part"]
    if part in ("accuracy", "weights"):
        label = _label(cell)
        if results is None:
            return {label: dict.fromkeys(("top1", "top5") if cell["method"] == DENSE else ACCURACY)}
        return {label: {key: results[key] for key in ACCURACY if key in results}}
    if results is None:
        return {}
    if part == "sparse latency":
        whole, files = results["dense_bytes"], results["files"]
        return {
            f"{pair}: {name}": {"speedup": 1.0 / one["ratio"], "file_ratio": whole / one["bytes"]}
            for name, one in files.items()
        }
    ratios: Mapping[str, Any] = results["ratios"]
    return {
        _label({**cell, "method": method}): {"speedup": 1.0 / measured["ratio"]} for method, measured in ratios.items()
    }


def _label(cell: Cell) -> str:
    pair, method = str(cell["pair"]), str(cell["method"])
    if method == DENSE:
        return f"{pair}: {method}"
    if "sparsity" in cell:
        return f"{pair}: {sparse_name(method, float(cell['sparsity']))}"
    return f"{pair}: {method} at {cell['speedup']:g}x"


def depends(cell: Cell, settings: Contest) -> Any:
    """A method's cells do not change with the other methods; a sitting does with those that share it."""
    pair, part = of_pair(settings, cell).model_dump(mode="json", exclude={"seeds"}), cell["part"]
    if part == "latency":
        return [pair, sorted(settings.methods)]
    if part == "sparse latency":
        return [pair, _sparse_points(settings)]
    if part == "weights":
        return [pair, settings.weight_methods[str(cell["method"])].changes]
    return [pair, settings.methods.get(str(cell["method"]))]


def pictures(finished: Sequence[FinishedCell]) -> Mapping[str, Figure]:
    from pipeline.reproduce.curves import accuracy_curves, compression_curves

    found = {}
    for pair in dict.fromkeys(str(line.cell["pair"]) for line in finished):
        name = re.sub(r"\W+", "-", pair).lower()
        found[name] = accuracy_curves(pair, finished)
        found[f"{name}-compression"] = compression_curves(pair, finished)
    return found


TABLE: Table[Contest] = Table(
    title="All methods side by side",
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
        Column("file_ratio", "file, 1/x", 2),
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
        "faster: median latency of the dense network over the pruned one's, measured, and a dash until the sitting of "
        "its point has been run; MACs and weights: how many times fewer; plans: how many the search had evaluated.",
        "Operating points are met by the latency table; the speed-up shown is measured, all methods of a point in one "
        "sitting with the dense network.",
        "weights, ...: single weights are zero, and the network keeps its shape. MACs: those with a factor that is not "
        "zero; file: bytes of the dense fp32 TFLite file over those of the one that stores no zeros, which faster is "
        "about. PuRL is paid for reaching the share of zeros and need not: see weights.",
    ),
)
