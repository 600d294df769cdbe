"""Searches how much of each layer to prune, and proves on the device what that gained."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.flow import run

__all__ = ["run"]

# Torch's OpenMP threads spin while they wait; beside one busy neighbour on two cores that made a batch 20 times
# slower. Read when torch is loaded, so it must be set before.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")


def _refuse_namesakes() -> None:
    """Say at once that a package of the user's hides one of ours, which would otherwise fail somewhere inside.

    `python -c`, notebooks and PYTHONPATH put the user's folder before the installed packages.
    """
    root = Path(__file__).resolve().parents[1]
    for name in ("models", "device_bench"):
        loaded = sys.modules.get(name)
        spec = loaded.__spec__ if loaded else importlib.util.find_spec(name)
        if spec is None:
            continue  # not there at all: Python's own message says that best
        places = [Path(place).resolve() for place in spec.submodule_search_locations or [spec.origin or ""]]
        if root / name not in places:
            raise ImportError(
                f"`import {name}` finds {places[0]}, which hides pocketprune's own package of that name; start Python "
                f"in another folder or as `python -P` (PYTHONSAFEPATH=1), keep that folder out of PYTHONPATH, and name "
                f"code of yours by its file: path/to/file.py:callable"
            )


_refuse_namesakes()


def __getattr__(name: str) -> Any:
    """`pipeline.run`, imported when it is first used, so that importing the package costs nothing."""
    if name != "run":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pipeline.flow import run

    return run
