"""PuRL's ablations (its Tables 1 and 2): rows that differ in one choice, told apart by accuracy and by sparsity.

Sparse rewards are paid at the end of an episode alone; the layers are retrained all the same, since the state holds the
accuracy after each, and since only one choice is to differ (section 4.1; section 3.3.2 can be read otherwise).
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.reproduce.context import Context
from pipeline.reproduce.network import NetworkSettings
from pipeline.reproduce.purl import Design, PurlSettings, retraining, search_in_rounds
from pipeline.reproduce.table import Cell, Column, FinishedCell, Published, Results, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Paper = Mapping[str, Mapping[str, Published]]
COLUMNS = (percent("top1", "top-1"), percent("sparsity", "sparsity"), Column("reward", "reward", 3))
MEASURES = {"top1": "accuracy", "sparsity": "sparsity"}
EDGE = 10
"""Episodes at each end of a learning curve that are compared."""
COLOURS = ("#000000", "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9")


def small_scale(network: NetworkSettings, sparsity: float) -> PurlSettings:
    """As much retraining and judging as thousands of steps on two cores allow."""
    return PurlSettings(network=network, sparsities=(sparsity,), retrain=retraining(96, 0.003), judge_images=256)


@dataclass(frozen=True)
class Claim:
    """Two rows that the paper compares."""

    row: str
    against: str


def cells(designs: Mapping[str, Design], seeds: int) -> Sequence[Cell]:
    """Seed by seed, so that a table that was stopped early has something of every row."""
    return [{"row": row, "seed": seed} for seed in range(seeds) for row in designs]


def run(designs: Mapping[str, Design], cell: Cell, context: Context[PurlSettings]) -> Results:
    results, _ = search_in_rounds(context.settings, designs[str(cell["row"])], int(cell["seed"]), context)
    return results


def judge(claims: Sequence[Claim], paper: Paper, finished: Sequence[FinishedCell]) -> list[str]:
    """One sentence for each claim whose two rows have figures: our differences, the paper's, and whether they agree."""
    sentences = []
    for claim in claims:
        found = {key: _difference(finished, claim, key) for key in MEASURES}
        if all(found.values()):
            sentences.append(_sentence(claim, paper, {key: value for key, value in found.items() if value}))
    return sentences


def _difference(finished: Sequence[FinishedCell], claim: Claim, key: str) -> tuple[float, float | None] | None:
    """The first row's mean less the second's, and the standard error of that, which one seed does not have."""
    first, second = values(finished, claim.row, key), values(finished, claim.against, key)
    if not first or not second:
        return None
    gain = statistics.fmean(first) - statistics.fmean(second)
    if min(len(first), len(second)) < 2:
        return gain, None
    return gain, sum(statistics.variance(each) / len(each) for each in (first, second)) ** 0.5


def values(finished: Sequence[FinishedCell], row: str, key: str) -> list[float]:
    """Of the row's cells, those that have the figure."""
    found = [line.results[key] for line in finished if line.cell["row"] == row]
    return [value for value in found if value is not None]


def _sentence(claim: Claim, paper: Paper, found: Mapping[str, tuple[float, float | None]]) -> str:
    theirs = {key: _mean(paper[claim.row][key]) - _mean(paper[claim.against][key]) for key in MEASURES}
    agree = {key: _agreement(*found[key], theirs[key]) for key in MEASURES}
    ours = " and ".join(f"{_points(*found[key])} of {name}" for key, name in MEASURES.items())
    published = " and ".join(f"{100 * theirs[key]:+.1f} of {name}" for key, name in MEASURES.items())
    verdict = "; ".join(
        f"{how}: {' and '.join(names)}"
        for how in ("as in the paper", "the other way round", "too close to tell")
        if (names := [MEASURES[key] for key, value in agree.items() if value == how])
    )
    here, there = _dominance([found[key][0] for key in MEASURES]), _dominance(list(theirs.values()))
    dominance = f"{here}, as in the paper" if here == there else f"{here}; in the paper {there}"
    return (
        f"{claim.row} against {claim.against}, points: {ours}; the paper: {published}. "
        f"{verdict[0].upper()}{verdict[1:]}. By the means {dominance}."
    )


def _points(gain: float, error: float | None) -> str:
    return f"{100 * gain:+.1f}" + (" (one seed)" if error is None else f" ± {100 * error:.1f}")


def _agreement(gain: float, error: float | None, theirs: float) -> str:
    if abs(gain) <= (error or 0.0):
        return "too close to tell"
    return "as in the paper" if gain * theirs > 0.0 else "the other way round"


def _dominance(gains: Sequence[float]) -> str:
    if all(gain > 0.0 for gain in gains):
        return "the first Pareto-dominates the second"
    return "the second Pareto-dominates the first" if all(gain < 0.0 for gain in gains) else "neither dominates"


def _mean(figure: Published) -> float:
    return figure[0] if isinstance(figure, tuple) else figure


def learning(rows: Sequence[str], finished: Sequence[FinishedCell]) -> list[str]:
    """How far each row's search came from its first episodes to its last ones before the policy was greedy."""
    sentences = []
    for row in rows:
        curves = [curve for curve in _curves(row, finished) if len(curve) >= 2 * EDGE]
        if curves:
            first = statistics.fmean(itertools.chain(*(curve[:EDGE] for curve in curves)))
            last = statistics.fmean(itertools.chain(*(curve[-EDGE:] for curve in curves)))
            sentences.append(
                f"{row}: the reward at the end of an episode goes from {first:.3f} (first {EDGE} episodes) to "
                f"{last:.3f} (last {EDGE} before the greedy ones); seeds: {len(curves)}."
            )
    return sentences


def _curves(row: str, finished: Sequence[FinishedCell]) -> list[list[float]]:
    """Of each seed the reward of every exploring episode's last step; those that were given up have none."""
    curves = []
    for line in finished:
        if line.cell["row"] == row:
            exploring = line.results["rewards"][: line.results["explored"]]
            curves.append([reward for reward in exploring if reward is not None])
    return [curve for curve in curves if curve]


def scatter(finished: Sequence[FinishedCell], paper: Paper) -> Figure:
    """Accuracy against sparsity: means with their standard errors, and the paper's, hollow."""
    from pipeline.report.figures import finish, new_figure

    figure = new_figure(5.2)
    axes = figure.add_subplot()
    for (row, published), tone in zip(paper.items(), COLOURS, strict=False):
        x, y = values(finished, row, "sparsity"), values(finished, row, "top1")
        if x:
            axes.errorbar(
                100 * statistics.fmean(x),
                100 * statistics.fmean(y),
                xerr=_standard_error(x),
                yerr=_standard_error(y),
                fmt="o",
                color=tone,
                capsize=2,
                label=row,
            )
        axes.plot(100 * _mean(published["sparsity"]), 100 * _mean(published["top1"]), "D", mec=tone, mfc="none", ms=6)
    axes.plot([], [], "D", mec="#4d4d4d", mfc="none", label="the paper's, on its data")
    axes.set(xlabel="Weights that are zero, %", ylabel="Top-1 on the test split, %")
    return finish(figure)


def _standard_error(shares: Sequence[float]) -> float:
    return 100 * statistics.stdev(shares) / len(shares) ** 0.5 if len(shares) > 1 else 0.0


def learning_curves(rows: Sequence[str], finished: Sequence[FinishedCell]) -> Figure:
    """Reward at the end of each episode, mean over seeds, with the range over them."""
    from pipeline.report.figures import finish, new_figure

    figure = new_figure()
    axes = figure.add_subplot()
    for row, tone in zip(rows, COLOURS[1:], strict=False):
        curves = _curves(row, finished)
        if not curves:
            continue
        by_episode: list[tuple[Any, ...]] = list(zip(*curves, strict=False))
        episodes = range(1, len(by_episode) + 1)
        axes.fill_between(episodes, [*map(min, by_episode)], [*map(max, by_episode)], color=tone, alpha=0.15, lw=0)
        axes.plot(episodes, [*map(statistics.fmean, by_episode)], color=tone, label=row)
    axes.set(xlabel="Episode", ylabel="Reward of the last step")
    return finish(figure)
