"""The plan that keeps the most importance within a budget, in the manner of HALP (Shen et al. 2022).

HALP solves a knapsack whose items are channels: each has an importance, and a cost that a latency table says. It prunes
in steps: at each one the costs are read from the table again around the network that is left (a layer's time is that of
its inputs times its outputs, so no sum over groups is right everywhere), and the budget falls exponentially. So here.

Departures from HALP (its algorithm 1 and section 3.3):
- An item is a whole group at one count of the device's staircase, which is what HALP's grouping of channels comes near
  to, and one of each group's counts is chosen: a multiple-choice knapsack, solved exactly in whole units of cost.
- Nothing is trained between the steps, so importances stay those of the dense network, and channels may come back.
- A step changes a group by a quarter at most, within which the costs are trusted to add up; at the end, steps both ways
  are tried on what the table says of the whole plan, for as long as they gain importance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.pruning.channels import Scores, strongest
from pipeline.search.cost import KeepCounts
from pipeline.search.uniform import KeepGrid
from pipeline.search.whole_plans import Cost
from pipeline.subject import Subject

STEPS = 30
"""Budgets from the dense network's cost to the one asked for (HALP prunes in 30 steps)."""
TRUST = 1.25
"""The factor by which a step may change a group's channels (to the next count of the grid, if that is further)."""
REFINEMENTS = 20
UNITS = 10_000
"""In how many units of cost a step divides what the network that is left costs."""
Values = Mapping[str, Mapping[int, float]]
"""Importance that each group keeps, by ascending count."""
Importance = Literal["fisher", "taylor", "l1", "l2"]
DEFAULT_IMPORTANCE: Importance = "taylor"


def importance_of(subject: Subject, name: Importance) -> Scores:
    """Scores that can be added over groups: losses that go with a channel, or norms.

    HALP's is `taylor`, the squared first order of the batch norm's scale and shift. Norms say nothing about the loss,
    and are divided by their mean in each layer.
    """
    return subject.scores_by(name, relative=name in ("l1", "l2"))


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
        plan = _move(plan, values, cost, budget=dense ** (1.0 - step / steps))
    while (over := cost(plan)) > 1.0:
        plan = _move(plan, values, cost, budget=1.0, falling=True)
        if cost(plan) >= over:
            return plan
    return _refined(plan, values, cost)


def best_choice(
    values: Sequence[Sequence[float]], costs: Sequence[Sequence[int]], budget: int
) -> tuple[int, ...] | None:
    """One option of each group, of the most value together, whose costs add up to the budget at most.

    By dynamic programming over the budget left; None where there is no such choice. Costs may be negative.
    """
    cheapest = [min(options) for options in costs]
    room = budget - sum(cheapest)
    if room < 0:
        return None
    best: NDArray[np.float64] = np.zeros(room + 1)  # of the groups so far, by what they may cost above their cheapest
    chosen = []
    for worth, prices, least in zip(values, costs, cheapest, strict=True):
        with_option = np.full((len(worth), room + 1), -np.inf)
        for option, (value, price) in enumerate(zip(worth, prices, strict=True)):
            extra = price - least
            if extra <= room:
                with_option[option, extra:] = best[: room + 1 - extra] + value
        chosen.append(with_option.argmax(axis=0))
        best = with_option.max(axis=0)
    choice = []
    for options, prices, least in zip(reversed(chosen), reversed(costs), reversed(cheapest), strict=True):
        choice.append(int(options[room]))
        room -= prices[choice[-1]] - least
    return tuple(reversed(choice))


def _move(
    plan: KeepCounts, values: Values, cost: Cost, *, budget: float, trust: float = TRUST, falling: bool = False
) -> dict[str, int]:
    """The best plan near this one, its cost taken to be this one's and what each group's change adds alone.

    Args:
        falling: groups may only become smaller.
    """
    here = cost(plan)
    options = {name: _near(tuple(counts), plan[name], trust, falling=falling) for name, counts in values.items()}
    added = [[cost({**plan, name: count}) - here for count in counts] for name, counts in options.items()]
    kept = [[values[name][count] for count in counts] for name, counts in options.items()]
    units = UNITS / here
    whole = [[round(units * more) for more in costs] for costs in added]
    choice = best_choice(kept, whole, math.floor(units * (budget - here)))
    if choice is None:  # out of reach: as cheap as may be
        choice = tuple(int(np.argmin(costs)) for costs in added)
    return {name: counts[number] for (name, counts), number in zip(options.items(), choice, strict=True)}


def _near(counts: tuple[int, ...], count: int, trust: float, *, falling: bool) -> tuple[int, ...]:
    """The counts within the factor `trust` of one of them, and its neighbours."""
    place = counts.index(count)
    near = {i for i, other in enumerate(counts) if count / trust <= other <= count * trust}
    near |= {max(place - 1, 0), min(place + 1, len(counts) - 1)}
    return tuple(counts[i] for i in sorted(near) if not (falling and i > place))


def _refined(plan: dict[str, int], values: Values, cost: Cost) -> dict[str, int]:
    """Steps both ways on what the plan really costs, shorter ones where that is over the budget."""
    trust = TRUST
    for _ in range(REFINEMENTS):
        better = _move(plan, values, cost, budget=1.0, trust=trust)
        if cost(better) <= 1.0 and _total(values, better) > _total(values, plan):
            plan = better
        elif trust > 1.0:
            trust = max(1.0, trust - 0.1)
        else:
            break
    return plan


def _total(values: Values, plan: KeepCounts) -> float:
    return sum(values[name][count] for name, count in plan.items())
