"""The plan that keeps the most importance within a budget, in the manner of HALP (Shen et al. 2022).

HALP solves a knapsack whose items are channels: each has an importance, and a cost that a latency table says. It prunes
in steps: at each one the costs are read from the table again around the network that is left (a layer's time is that of
its inputs times its outputs, so no sum over groups is right everywhere), and the budget falls exponentially. So here.

Departures from HALP (its algorithm 1 and section 3.3):
- An item is a whole group at one count of the device's staircase, which is what HALP's grouping of channels comes near
  to; the knapsack is solved exactly, as an integer program, and not by rounding milliseconds.
- Nothing is trained between the steps, so importances stay those of the dense network, and channels may come back.
- A step moves a group by a few counts at most, within which the costs are trusted to add up; at the end steps both ways
  are tried on the true predicted cost for as long as they gain importance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp

from pipeline.pruning.channels import Scores, strongest
from pipeline.search.cost import KeepCounts
from pipeline.search.uniform import KeepGrid
from pipeline.search.whole_plans import Cost
from pipeline.subject import Subject

STEPS = 30
"""Budgets from the dense network's cost to the one asked for (HALP prunes in 30 steps)."""
REACH = 2
"""How many counts of the grid a group moves in one step."""
REFINEMENTS = 20
GAP = 1e-7
"""Relative, between the importance of the solution and the most that there can be."""
Values = Mapping[str, Mapping[int, float]]
"""Importance that each group keeps, by ascending count."""
Importance = Literal["taylor", "l1", "l2"]


def importance_of(subject: Subject, name: Importance) -> Scores:
    """Scores that can be added over groups: the loss that the first order says goes with a channel, or a norm.

    Norms say nothing about the loss, and are divided by their mean in each layer. (HALP takes the squared first order
    of the batch norm's scale and shift.)
    """
    return subject.scores_by(name, relative=name != "taylor")


def kept_importance(grid: KeepGrid, ranking: Scores, importance: Scores) -> Values:
    """Importance of the channels that stay: those that rank highest, which may be by other scores."""
    return {
        name: {count: float(importance[name][list(strongest(ranking[name], count))].sum()) for count in counts}
        for name, counts in grid.items()
    }


def knapsack_plan(values: Values, cost: Cost, *, steps: int = STEPS) -> dict[str, int]:
    """The plan of the most importance whose cost is 1 or less, or the nearest to that which was found."""
    plan = {name: max(counts) for name, counts in values.items()}
    dense = cost(plan)
    for step in range(1, steps + 1):
        plan = _move(plan, values, cost, budget=dense ** (1.0 - step / steps), reach=REACH)
    while (over := cost(plan)) > 1.0:
        plan = _move(plan, values, cost, budget=1.0, reach=REACH, falling=True)
        if cost(plan) >= over:
            return plan
    return _refined(plan, values, cost)


def best_choice(
    values: Sequence[Sequence[float]], costs: Sequence[Sequence[float]], budget: float
) -> tuple[int, ...] | None:
    """One option of each group, of the most value together, whose costs add up to the budget at most.

    None where there is none.
    """
    sizes = [len(options) for options in values]
    flat_values, flat_costs = np.concatenate(values), np.concatenate(costs)
    one_of_each: NDArray[np.float64] = np.repeat(np.eye(len(sizes)), sizes, axis=1)  # (G, options)
    scale, unit = np.abs(flat_values).max() or 1.0, np.abs(flat_costs).max() or 1.0
    solution = milp(
        -flat_values / scale,
        integrality=np.ones(flat_values.size),
        bounds=Bounds(0.0, 1.0),
        constraints=[
            LinearConstraint(one_of_each, 1.0, 1.0),
            LinearConstraint(flat_costs[None, :] / unit, -np.inf, budget / unit),
        ],
        options={"mip_rel_gap": GAP},
    )
    if solution.x is None:
        return None
    ends = np.cumsum(sizes)[:-1]
    return tuple(int(np.argmax(chosen)) for chosen in np.split(solution.x, ends))


def _move(
    plan: KeepCounts, values: Values, cost: Cost, *, budget: float, reach: int, falling: bool = False
) -> dict[str, int]:
    """The best plan near this one, its cost taken to be this one's and what each group's change adds alone.

    Args:
        falling: groups may only become smaller.
    """
    here = cost(plan)
    options = {name: _near(tuple(counts), plan[name], reach, falling=falling) for name, counts in values.items()}
    added = [[cost({**plan, name: count}) - here for count in counts] for name, counts in options.items()]
    kept = [[values[name][count] for count in counts] for name, counts in options.items()]
    choice = best_choice(kept, added, budget - here)
    if choice is None:  # out of reach: as cheap as may be
        choice = tuple(int(np.argmin(costs)) for costs in added)
    return {name: counts[number] for (name, counts), number in zip(options.items(), choice, strict=True)}


def _near(counts: tuple[int, ...], count: int, reach: int, *, falling: bool) -> tuple[int, ...]:
    place = counts.index(count)
    return counts[max(place - reach, 0) : place + (0 if falling else reach) + 1]


def _refined(plan: dict[str, int], values: Values, cost: Cost) -> dict[str, int]:
    """Steps both ways on what the plan really costs, shorter ones where that is over the budget."""
    reach = REACH
    for _ in range(REFINEMENTS):
        better = _move(plan, values, cost, budget=1.0, reach=reach)
        if cost(better) <= 1.0 and _total(values, better) > _total(values, plan):
            plan = better
        elif reach > 1:
            reach -= 1
        else:
            break
    return plan


def _total(values: Values, plan: KeepCounts) -> float:
    return sum(values[name][count] for name, count in plan.items())
