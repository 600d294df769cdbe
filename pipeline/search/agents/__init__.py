"""Agents, one file each; the file name is the registry name.

Each has `Options`, what it takes from `search.options`; `ACTIONS`, the kinds of `search.actions` that it can take, its
own choice first; `STATE`, the state that suits it; `WHOLE_PLANS`, if it decides nothing site by site; `ASKS_OFTEN`, if
it asks what thousands of plans cost; and `search(env, settings, seed, folder)`: it plays episodes in the environment,
which logs them, and leaves what it learned in `folder`. What wins is chosen from the log, the same way for every agent.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError
from pipeline.search_section import SearchSection
from pipeline.section import Section, validate_section

WEIGHT_ACTIONS = ("absolute", "continuous")
"""What there is where weights are pruned: the other kinds are about a latency target."""


def names() -> tuple[str, ...]:
    files = Path(__file__).parent.glob("[a-z]*.py")
    return tuple(sorted(file.stem for file in files))


def find(name: str) -> Callable[..., None]:
    """The `search` function of the agent with this name, one of `names()`."""
    module: Any = importlib.import_module(f"{__name__}.{name}")
    search: Callable[..., None] = module.search
    return search


def check_options(settings: SearchSection) -> Section:
    """The validated options of the agent that the settings name.

    Raises:
        ConfigError: an option that the agent does not have, or a value that it cannot take.
    """
    module: Any = importlib.import_module(f"{__name__}.{settings.agent}")
    options: Section = validate_section(module.Options, settings.options, f"search.options of {settings.agent}")
    return options


def actions_of(settings: SearchSection, kind: str) -> str:
    """The kind of actions that the search offers: the configured one, or what suits the agent.

    Args:
        kind: what is pruned, channels or weights.

    Raises:
        ConfigError: the agent cannot take the configured kind, or there is none that suits what is pruned.
    """
    module: Any = importlib.import_module(f"{__name__}.{settings.agent}")
    able = [one for one in module.ACTIONS if kind == "channels" or one in WEIGHT_ACTIONS]
    if not able:
        raise ConfigError(
            f"search.agent: {settings.agent} makes plans of channels, and pruning.kind is {kind!r}; give one that "
            "decides layer by layer, such as dqn"
        )
    often = getattr(module, "ASKS_OFTEN", False)
    if often and settings.target.cost == "latency" and settings.latency_source == "measured":
        raise ConfigError(
            f"search.latency_source: {settings.agent} asks what thousands of plans cost, and 'measured' would export "
            "and time each of them; set table or hybrid, or give an agent that decides group by group, such as dqn"
        )
    if settings.actions is None:
        return str(able[0])
    if settings.actions not in able:
        raise ConfigError(
            f"search.actions: {settings.agent} cannot take {settings.actions!r} where {kind} are pruned; it can take "
            f"{', '.join(able)}"
        )
    return settings.actions


def check_episodes(settings: SearchSection, kind: str) -> None:
    """Whether episodes can end as the settings ask, and what they are paid can lead to the target.

    Args:
        kind: what is pruned, channels or weights.

    Raises:
        ConfigError: episodes shall be given up and have no steps, or nothing keeps the agent to the target.
    """
    module: Any = importlib.import_module(f"{__name__}.{settings.agent}")
    whole_plans = getattr(module, "WHOLE_PLANS", False)
    if whole_plans and settings.stop_below and kind == "channels":
        raise ConfigError(
            f"search.stop_below {settings.stop_below:g}: {settings.agent} makes whole plans of channels, which are "
            "judged at their end alone, so that none is given up; leave it out, or give an agent that decides group by "
            "group, such as dqn"
        )
    budgeted = kind == "channels" and (settings.fits_plans or actions_of(settings, kind) == "bounded")
    if settings.reward.name == "amc" and not whole_plans and not budgeted:
        remedy = (
            "leave search.reward.name out"
            if kind == "weights"
            else "set search.actions to bounded (agent amc or explainable) or search.fit_to_target to true (with "
            "search.latency_source table or hybrid), or leave search.reward.name out"
        )
        raise ConfigError(
            "search.reward.name 'amc' pays accuracy alone, and nothing here would keep a plan to the target: the agent "
            f"would learn to prune nothing; {remedy}"
        )


def state_of(settings: SearchSection) -> str:
    module: Any = importlib.import_module(f"{__name__}.{settings.agent}")
    return str(settings.state or module.STATE)
