"""A plan that is given: what each site keeps stands in `search.options`, and nothing is searched."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from pipeline.errors import ConfigError
from pipeline.search.env import PruneEnv
from pipeline.search_section import SearchSection
from pipeline.section import PositiveInt, Section, validate_section

ACTIONS = ("absolute",)
STATE = "simple"
WHOLE_PLANS = True


class Options(Section):
    keep: dict[str, PositiveInt] = Field(default_factory=dict)
    """Channels (or weights) that stay, by group (or layer); those left out stay whole."""


def plan(settings: SearchSection, sizes: Mapping[str, int]) -> dict[str, int]:
    """What each site keeps, those that are not named all they have.

    Raises:
        ConfigError: a site that is not there, or that does not have so much to keep.
    """
    keep = validate_section(Options, settings.options, "search.options of fixed").keep
    for name, count in keep.items():
        if name not in sizes:
            raise ConfigError(
                f"search.options.keep: {name!r} is nothing that may be pruned here; known: {', '.join(sizes)}"
            )
        if count > sizes[name]:
            raise ConfigError(f"search.options.keep: {name} has {sizes[name]}, and cannot keep {count}; keep 1 to that")
    return {**sizes, **keep}


def search(env: PruneEnv, settings: SearchSection, seed: int, folder: Path) -> None:
    """Play the plan once.

    Raises:
        ConfigError: see `plan`.
    """
    env.play_plan(plan(settings, {site.name: site.size for site in env.task.sites}), "explore")
