"""Agents, one file each; the file name is the registry name.

Each has `Options`, what it takes from `search.options`, and `search(env, settings, seed, folder)`: it plays episodes in
the environment, which logs them, and leaves what it learned in `folder`. What wins is chosen from the log, the same way
for every agent.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.config import SearchSection, Section, validate_section


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
