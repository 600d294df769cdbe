"""What the agent sees before each step: one pure function per state, all values within about 0..1.

PuRL 3.2.1 (001_147cc4adf19daa6c): `simple` is (l, a, p); `per_layer` is (a_1, p_1, ..., a_n, p_n), zeros at first.
Departure from the paper: the accuracy is of validation images, never of test images, and p is the share of the
dense cost that is gone (simple), or of the site's channels or weights (per_layer).

`amc` is what AMC's code shows its agent of the site that comes next, `explainable` the nine features of the poster
(000_accc842e532b0134). What does not change in a walk is min-max normalised over the network's sites, as AMC does; the
rest are shares already. Departure: "reduced" counts what the whole network saved, since pruning one layer's outputs
makes the next layer cheaper as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.search.sites import SiteFacts

State = NDArray[np.float32]
WALK = ("reduced", "rest", "last_action")
"""The features that the walk itself changes."""
AMC = ("index", "is_conv", "in_channels", "out_channels", "stride", "kernel", "weights")
EXPLAINABLE = ("index", "largest_singular_value", "effective_rank", "is_conv", "is_fc", "in_channels")


@dataclass(frozen=True)
class Progress:
    """The walk so far: one entry per pruned site, how many sites there are and what is known of each."""

    n_sites: int
    accuracy: Sequence[float]
    saved: Sequence[float]
    """Share of the dense cost that is gone."""
    pruned: Sequence[float]
    """Share of the site's channels or weights that went."""
    facts: Sequence[SiteFacts]
    """One for each of the sites, pruned or not."""
    macs_reduced: Sequence[float]
    """Share of the dense network's multiply-accumulates that are gone."""


def simple(progress: Progress) -> State:
    """(3,): share of sites done, accuracy now, share of the cost gone."""
    if not progress.accuracy:
        return np.zeros(3, dtype=np.float32)
    done = len(progress.accuracy) / progress.n_sites
    return np.array([done, progress.accuracy[-1], progress.saved[-1]], dtype=np.float32)


def per_layer(progress: Progress) -> State:
    """(2 n_sites,): accuracy after each site, and the share of it that went."""
    state = np.zeros((progress.n_sites, 2), dtype=np.float32)
    done = len(progress.accuracy)
    state[:done, 0] = progress.accuracy
    state[:done, 1] = progress.pruned
    return state.reshape(-1)


def amc(progress: Progress) -> State:
    """(10,): the site's index, type (1 is a convolution), shape and weights, then `WALK`."""
    return _of_next_site(progress, AMC)


def explainable(progress: Progress) -> State:
    """(9,): the poster's features in its order."""
    return _of_next_site(progress, EXPLAINABLE)


def _of_next_site(progress: Progress, names: Sequence[str]) -> State:
    """What is fixed of the site that comes next (the last one again when the walk is over), then `WALK`."""
    done = len(progress.accuracy)
    site = min(done, progress.n_sites - 1)
    fixed = np.array([[float(getattr(facts, name)) for name in names] for facts in progress.facts])  # (sites, names)
    low, high = fixed.min(axis=0), fixed.max(axis=0)
    kinds = [name in ("is_conv", "is_fc") for name in names]
    low, high = np.where(kinds, 0.0, low), np.where(kinds, 1.0, high)
    normalised = (fixed[site] - low) / np.where(high > low, high - low, 1.0)
    walk = (
        progress.macs_reduced[-1] if done else 0.0,
        sum(facts.macs for facts in progress.facts[done + 1 :]),
        progress.pruned[-1] if done else 0.0,
    )
    return np.array([*normalised, *walk], dtype=np.float32)


STATES: dict[str, Callable[[Progress], State]] = {
    "simple": simple,
    "per_layer": per_layer,
    "amc": amc,
    "explainable": explainable,
}


def names(state: str, n_sites: int) -> tuple[str, ...]:
    """What each number of the state is, in its order."""
    of_sites = [f"{what} {site}" for site in range(n_sites) for what in ("accuracy after", "pruned of")]
    return {
        "simple": ("done", "accuracy", "saved"),
        "per_layer": tuple(of_sites),
        "amc": (*AMC, *WALK),
        "explainable": (*EXPLAINABLE, *WALK),
    }[state]


STATES_OF_ACCURACY = ("simple", "per_layer")
"""Those that hold the accuracy after each step."""
