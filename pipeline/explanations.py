"""Why a policy left each site with what it has: numbers by feature, and words that both it and the report use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

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
    "last_action": "how much the layer before lost",
    "ms_per_channel": "what one of its channels costs",
    "lost_alone": "what is lost when it alone is pruned",
    "channels": "how many channels it has",
    "depth": "place in the network",
    "evenness": "how evenly its channels matter",
}
"""Features whose name would not be plain in a sentence."""


class Explanation(Record):
    """Why one site was left with what it has."""

    site: str
    asked: float
    """The policy's action: the share that it wanted to keep, or 1 less its share of the highest amount of weights."""
    kept: float
    """The share that it was left with: the budget, the grid of counts and the fit to the target come in between."""
    usual: float
    """The share that is kept where no feature has a say: of a site like the average, or by the uncorrected estimate."""
    unit: Literal["kept", "worth"]
    """What the contributions are in: logits of the share kept, or logarithms of what the site is held to be worth."""
    contributions: dict[str, float]
    """By feature, in `unit`: below zero asks for more pruning."""
    text: str


def prose(feature: str) -> str:
    return PROSE.get(feature, feature.replace("_", " "))


def in_words(contributions: Mapping[str, float]) -> str:
    """Which features asked for more pruning and which for less."""
    more, less = _names(contributions, -1.0), _names(contributions, 1.0)
    if not more and not less:
        return "like the average one, no feature asked for anything else"
    sides = [f"{names} asked for {how}" for names, how in ((more, "more pruning"), (less, "less")) if names]
    if not more:
        sides = [f"{less} asked for less pruning"]
    return ", ".join(sides)


def _names(contributions: Mapping[str, float], sign: float) -> str:
    """The features that pull in one direction, the strongest first."""
    least = WORTH_TELLING * max(map(abs, contributions.values()))
    pulls = {name: sign * value for name, value in contributions.items() if sign * value > max(least, 1e-9)}
    strongest = sorted(pulls, key=lambda name: -pulls[name])[:TOLD]
    words = [prose(name) for name in strongest]
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
