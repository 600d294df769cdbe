"""A plan that is given: what each site keeps stands in `search.options`, and nothing is searched."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from pipeline.config import PositiveInt, SearchSection, Section, validate_section
from pipeline.errors import ConfigError
from pipeline.search.env import PruneEnv

ACTIONS = ("absolute",)
STATE = "simple"


class Options(Section):
    keep: dict[str, PositiveInt] = Field(default_factory=dict)
    """Channels (or weights) that stay, by group (or layer); those left out stay whole."""


def search(env: PruneEnv, settings: SearchSection, seed: int, folder: Path) -> None:
    """Play the plan once.

    Raises:
        ConfigError: a site that is not there, or that does not have so much to keep.
    """
    keep = validate_section(Options, settings.options, "search.options of fixed").keep
    sizes = {site.name: site.size for site in env.task.sites}
    for name, count in keep.items():
        if name not in sizes:
            raise ConfigError(
                f"search.options.keep: {name!r} is nothing that may be pruned here; known: {', '.join(sizes)}"
            )
        if count > sizes[name]:
            raise ConfigError(f"search.options.keep: {name} has {sizes[name]}, and cannot keep {count}; keep 1 to that")
    env.play_plan(sizes | keep, "explore")
