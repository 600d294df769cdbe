"""Searches how much of each layer to prune, and proves on the device what that gained."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.flow import run

__all__ = ["run"]

# Torch's OpenMP threads spin while they wait; beside one busy neighbour on two cores that made a batch 20 times
# slower. Read when torch is loaded, so it must be set before.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")


def __getattr__(name: str) -> Any:
    """`pipeline.run`, imported when it is first used, so that importing the package costs nothing."""
    if name != "run":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pipeline.flow import run

    return run
