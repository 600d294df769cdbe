"""Control in the manner of HALP (Shen et al. 2022): the most importance that fits into the latency budget."""

from __future__ import annotations

from pathlib import Path

from pipeline.search.env import PruneEnv
from pipeline.search.knapsack import (
    DEFAULT_IMPORTANCE,
    STEPS,
    Importance,
    importance_of,
    kept_importance,
    knapsack_plan,
)
from pipeline.search.whole_plans import channel_task, play_until_settled
from pipeline.search_section import SearchSection
from pipeline.section import PositiveInt, Section, validate_section

ACTIONS = ("around_target",)
STATE = "simple"
WHOLE_PLANS = True
ASKS_OFTEN = True


class Options(Section):
    importance: Importance = DEFAULT_IMPORTANCE
    """What a channel is worth; which of a group's channels stay is decided by `pruning.importance`."""
    steps: PositiveInt = STEPS
    """Budgets from the dense network's cost to the target."""


def search(env: PruneEnv, settings: SearchSection, seed: int, folder: Path) -> None:
    """Play the plan that the knapsack gives; again where measuring corrected the table.

    Raises:
        ConfigError: an option that the agent does not have, or a latency source that cannot be asked so often.
    """
    options = validate_section(Options, settings.options, "search.options of knapsack")
    task = channel_task(env)
    values = kept_importance(task.grid, task.subject.scores, importance_of(task.subject, options.importance))
    play_until_settled(env, lambda: knapsack_plan(values, task.cost, steps=options.steps), settings.episodes)
