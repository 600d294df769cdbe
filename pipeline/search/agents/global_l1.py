"""Control: global magnitude pruning by torch-pruning, at the one threshold that meets the target."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pipeline.search.env import PruneEnv
from pipeline.search.global_threshold import STEPS, GlobalThreshold
from pipeline.search.whole_plans import channel_task, first_within, play_until_settled
from pipeline.search_section import SearchSection
from pipeline.section import Section, validate_section

ACTIONS = ("around_target",)
STATE = "simple"
WHOLE_PLANS = True
ASKS_OFTEN = True


class Options(Section):
    p: Literal[1, 2] = 1
    """Of the norm that channels are compared by."""


def search(env: PruneEnv, settings: SearchSection, seed: int, folder: Path) -> None:
    """Play the plan of the smallest pruning ratio that meets the aim; again where measuring corrected the table.

    Raises:
        ConfigError: an option that the agent does not have, or a latency source that cannot be asked so often.
    """
    options = validate_section(Options, settings.options, "search.options of global_l1")
    task = channel_task(env)
    threshold = GlobalThreshold(task.subject, task.grid, options.p)
    play_until_settled(env, lambda: first_within(threshold.counts, STEPS, task.cost), settings.episodes)
