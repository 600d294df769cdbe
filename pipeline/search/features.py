"""What the agent sees before each step: one pure function per state, all values within about 0..1.

PuRL 3.2.1 (001_147cc4adf19daa6c): `simple` is (l, a, p); `per_layer` is (a_1, p_1, ..., a_n, p_n), zeros at first.
Departure from the paper: the accuracy is of validation images, never of test images, and p is the share of the
dense latency that is gone (simple), or of the group's channels (per_layer).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

State = NDArray[np.float32]


@dataclass(frozen=True)
class Progress:
    """The walk so far: one entry per pruned group, and how many groups there are."""

    n_groups: int
    accuracy: Sequence[float]
    latency_saved: Sequence[float]
    channels_pruned: Sequence[float]


def simple(progress: Progress) -> State:
    """(3,): share of groups done, accuracy now, share of the latency gone."""
    if not progress.accuracy:
        return np.zeros(3, dtype=np.float32)
    done = len(progress.accuracy) / progress.n_groups
    return np.array([done, progress.accuracy[-1], progress.latency_saved[-1]], dtype=np.float32)


def per_layer(progress: Progress) -> State:
    """(2 n_groups,): accuracy after each group, and the share of its channels that went."""
    state = np.zeros((progress.n_groups, 2), dtype=np.float32)
    done = len(progress.accuracy)
    state[:done, 0] = progress.accuracy
    state[:done, 1] = progress.channels_pruned
    return state.reshape(-1)


STATES: dict[str, Callable[[Progress], State]] = {"simple": simple, "per_layer": per_layer}
