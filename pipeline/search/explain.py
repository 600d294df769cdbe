"""Why a linear policy decided as it did: what each feature of a site asked for.

The policy keeps sigmoid(bias + w . x) of a site. Over the sites of one walk with mean features m this is
sigmoid(usual + w . (x - m)), usual = bias + w . m: `usual` is what it keeps of a site like the average, and each
feature's contribution w_i (x_i - m_i) moves it from there. They add up exactly, in logits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.explanations import Explanation, in_words
from pipeline.records import Record

AS_SHARE: Callable[[float], str] = "{:.0%}".format
"""A share to keep, in words."""


class Stability(Record):
    """How far the importance of features stays with the same features, from 0 (disjoint) to 1 (the same)."""

    successive: float
    """Mean over neighbours in the sequence: between one episode and the next."""
    overall: float
    """Mean over all pairs."""
    features: float
    """How many features have any importance, on average."""


def explain(
    sites: Sequence[str],
    states: NDArray[np.float32],
    kept: Sequence[float],
    weights: Mapping[str, float],
    bias: float,
    asks: Callable[[float], str] = AS_SHARE,
) -> list[Explanation]:
    """One explanation for each step of a greedy walk.

    Args:
        sites: name of each site.
        states: (sites, features), what the policy saw.
        kept: share of each site that was left in the end.
        weights: of the policy by feature, in the order of the states.
        asks: what an action asks for in words, where it is no share to keep.
    """
    features = states.astype(np.float64)
    slopes = np.array(list(weights.values()))
    usual = bias + features.mean(axis=0) @ slopes
    moved = (features - features.mean(axis=0)) * slopes  # (sites, features)
    explanations = []
    for site, row, share in zip(sites, moved, kept, strict=True):
        contributions = dict(zip(weights, row.tolist(), strict=True))
        asked = _sigmoid(usual + row.sum())
        explanations.append(
            Explanation(
                site=site,
                asked=asked,
                kept=share,
                usual=_sigmoid(usual),
                unit="kept",
                contributions=contributions,
                text=_words(asks(asked), share, contributions),
            )
        )
    return explanations


def importance(states: NDArray[np.float32], weights: Mapping[str, float]) -> dict[str, float]:
    """|weight| times the feature's standard deviation over a walk's states (steps, features), in logits."""
    spread = states.astype(np.float64).std(axis=0)
    return {name: abs(weight) * float(by) for (name, weight), by in zip(weights.items(), spread, strict=True)}


def stability(importances: Sequence[Mapping[str, float]]) -> Stability | None:
    """How stable the importance of features is over a sequence of episodes (or of seeds).

    Two are compared by their shares: the sum over the features of the smaller share, which is one less half of what
    moved. The poster (000_accc842e532b0134) calls importance stable or not and gives no measure. Those in which no
    feature has any importance are left out; None if fewer than two are left.
    """
    rows = np.array([list(one.values()) for one in importances if any(one.values())])
    if len(rows) < 2:
        return None
    shares = rows / rows.sum(axis=1, keepdims=True)
    overlap = np.array([np.minimum(shares, row).sum(axis=1) for row in shares])
    return Stability(
        successive=float(np.diagonal(overlap, 1).mean()),
        overall=float(overlap[np.triu_indices(len(rows), 1)].mean()),
        features=float((rows > 0.0).sum(axis=1).mean()),
    )


def _words(asked: str, kept: float, contributions: Mapping[str, float]) -> str:
    said = "kept whole" if kept == 1.0 else f"pruned to {kept:.0%}"
    if asked != f"{kept:.0%}":
        said += f" (the policy asked for {asked})"
    return f"{said}: {in_words(contributions)}"


def _sigmoid(logit: float) -> float:
    return 1.0 / (1.0 + math.exp(-logit)) if logit >= 0 else 1.0 - _sigmoid(-logit)
