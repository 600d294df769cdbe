"""Why a linear policy decided as it did: what each feature of a site asked for, in numbers and in words.

The policy keeps sigmoid(bias + w . x) of a site. Over the sites of one walk with mean features m this is
sigmoid(usual + w . (x - m)), usual = bias + w . m: `usual` is what it keeps of a site like the average, and each
feature's contribution w_i (x_i - m_i) moves it from there. They add up exactly, in logits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.records import Record

WORTH_TELLING = 0.1
"""A contribution below this share of the site's largest one is left out of the words."""
TOLD = 3
"""At most so many features are named for each direction."""
PROSE = {
    "index": "place in the network",
    "largest_singular_value": "largest singular value",
    "effective_rank": "effective rank",
    "is_conv": "being a convolution",
    "is_fc": "being fully connected",
    "in_channels": "input channels",
    "out_channels": "output channels",
    "reduced": "work saved before",
    "rest": "work still to come",
    "last_action": "how much the site before lost",
    "ms_per_channel": "what a channel costs on the device",
    "lost_alone": "what is lost when it alone is pruned",
    "depth": "place in the network",
    "evenness": "how evenly its channels matter",
}
"""Features whose name would not be plain in a sentence."""


class Explanation(Record):
    """Why one site was left with what it has."""

    site: str
    asked: float
    """The share that the policy wanted to keep."""
    kept: float
    """The share that it was left with: the budget, the grid of counts and the fit to the target come in between."""
    usual: float
    """The share that the policy keeps of a site with the walk's average features."""
    contributions: dict[str, float]
    """By feature, in logits of the kept share: below zero asks for more pruning."""
    text: str


class Stability(Record):
    """How far the importance of features stays with the same features, from 0 (disjoint) to 1 (the same)."""

    successive: float
    """Mean over neighbours in the sequence: between one episode and the next."""
    overall: float
    """Mean over all pairs."""
    features: float
    """How many features have any importance, on average."""


def explain(
    sites: Sequence[str], states: NDArray[np.float32], kept: Sequence[float], weights: Mapping[str, float], bias: float
) -> list[Explanation]:
    """One explanation for each step of a greedy walk.

    Args:
        sites: name of each site.
        states: (sites, features), what the policy saw.
        kept: share of each site that was left in the end.
        weights: of the policy by feature, in the order of the states.
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
                contributions=contributions,
                text=_words(asked, share, contributions),
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


def _words(asked: float, kept: float, contributions: Mapping[str, float]) -> str:
    said = "kept whole" if kept == 1.0 else f"pruned to {kept:.0%}"
    if f"{asked:.0%}" != f"{kept:.0%}":
        said += f" (the policy asked for {asked:.0%})"
    return f"{said}: {in_words(contributions)}"


def in_words(contributions: Mapping[str, float]) -> str:
    """Which features asked for more pruning and which for less."""
    more, less = _names(contributions, -1.0), _names(contributions, 1.0)
    if not more and not less:
        return "as much as the average site, no feature asked for anything else"
    sides = [f"{names} asked for {how}" for names, how in ((more, "more pruning"), (less, "less")) if names]
    if not more:
        sides = [f"{less} asked for less pruning"]
    return ", ".join(sides)


def _names(contributions: Mapping[str, float], sign: float) -> str:
    """The features that pull in one direction, the strongest first."""
    least = WORTH_TELLING * max(map(abs, contributions.values()))
    pulls = {name: sign * value for name, value in contributions.items() if sign * value > max(least, 1e-9)}
    strongest = sorted(pulls, key=lambda name: -pulls[name])[:TOLD]
    words = [PROSE.get(name, name.replace("_", " ")) for name in strongest]
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def _sigmoid(logit: float) -> float:
    return 1.0 / (1.0 + math.exp(-logit)) if logit >= 0 else 1.0 - _sigmoid(-logit)
