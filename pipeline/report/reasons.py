"""Why each layer was pruned as it was: what the agent left in words and numbers, brought to what the page shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.explanations import Explanation, prose
from pipeline.report.details import Facts
from pipeline.report.results import Results

FEATURES = 9
"""At most so many are drawn apart; of more, the weakest are one bar."""
SHORT = 8
"""Up to so many groups are all told at once; of more, those that the features moved most."""
TOLD = 5
UNIT_WORDS = {"kept": ("log-odds of the share kept",), "worth": ("logarithm of the factor", "on the {site}'s worth")}
"""In lines, which a phone's width needs."""
LEADS = {
    "kept": "The share that the agent keeps of a {site} is a weighted sum of its features, squeezed into 0 to 100%. "
    "The words say what sets each {site} apart from the average one. The budget and the counts that suit the device "
    "come in after that, so what is left can differ from what was asked for.",
    "worth": "The agent keeps what is worth most within the target. What a {site} is worth is estimated before "
    "anything recovers, and corrected by what the search learned. The words say what the next step would save and "
    "lose, and which features lowered the {site}'s worth (asked for more pruning) or raised it (asked for less).",
}


@dataclass(frozen=True)
class Reasons:
    """One entry of each series for each site, in the order of the network; shares are of 1."""

    sites: tuple[str, ...]
    texts: tuple[str, ...]
    kept: tuple[float, ...]
    """By the plan that is explained: the agent's own."""
    won: tuple[float, ...] | None
    """By the plan that won; None where that is the same one, or not known."""
    pulls: dict[str, tuple[float, ...]]
    """What each feature asked for, by its name in a sentence, the strongest first; below zero is less."""
    unit: tuple[str, ...]
    """What the pulls are in, in lines."""
    site_word: str
    """What a site is called: a group of channels, or a layer."""
    lead: str
    told: Facts
    """The sites that are told first: all, if they are few."""
    rest: Facts
    """All of them, where `told` is a choice."""

    @property
    def together(self) -> tuple[float, ...]:
        """What the features come to, for each site."""
        return tuple(map(sum, zip(*self.pulls.values(), strict=True))) if self.pulls else (0.0,) * len(self.sites)


def reasons(results: Results) -> Reasons | None:
    """None where the agent left no explanations."""
    found = results.explanations
    if not found:
        return None
    sites = tuple(one.site for one in found)
    won, site_word = _won(results, found), "layer" if results.config.pruning.kind == "weights" else "group"
    facts = tuple(
        (one.site, f"{one.text}.{_won_words(one, won[place] if won else None)}") for place, one in enumerate(found)
    )
    told = facts if len(facts) <= SHORT else tuple(facts[place] for place in _most_moved(found))
    return Reasons(
        sites=sites,
        texts=tuple(one.text for one in found),
        kept=tuple(one.kept for one in found),
        won=won,
        pulls=_pulls(found),
        unit=tuple(line.format(site=site_word) for line in UNIT_WORDS[found[0].unit]),
        site_word=site_word,
        lead=f"{LEADS[found[0].unit].format(site=site_word)} {_which_plan(results, won)}".strip(),
        told=told,
        rest=() if told == facts else facts,
    )


def _won(results: Results, found: Sequence[Explanation]) -> tuple[float, ...] | None:
    """What the plan that won keeps of each site; None where it keeps what is explained, or where none is known."""
    pruned = results.variant("pruned")
    if pruned is None:
        return None
    channels = {name: group.kept_count / group.channels for name, group in pruned.record.groups.items()}
    shares = channels | {name: layer.kept / layer.size for name, layer in pruned.record.weights.items()}
    won = tuple(shares.get(one.site, 1.0) for one in found)
    same = all(abs(share - one.kept) < 1e-6 for share, one in zip(won, found, strict=True))
    return None if same or not shares else won


def _won_words(one: Explanation, won: float | None) -> str:
    return "" if won is None or f"{won:.0%}" == f"{one.kept:.0%}" else f" The plan that won keeps {won:.0%}."


def _which_plan(results: Results, won: tuple[float, ...] | None) -> str:
    if won is None:
        return ""
    finalists = results.search.finalists if results.search else ()
    number = finalists[0].episode if finalists else None
    episode = "" if number is None else f", of episode {number}"
    return (
        f"All this is of the plan that the agent ended with. Another one won{episode}; what that one keeps is said "
        "where it differs."
    )


def _pulls(found: Sequence[Explanation]) -> dict[str, tuple[float, ...]]:
    """Features that asked for nothing anywhere are left out, the weakest of many are added up."""
    by_feature = {name: tuple(one.contributions[name] for one in found) for name in found[0].contributions}
    total = {name: sum(map(abs, values)) for name, values in by_feature.items()}
    ranked = sorted((name for name in total if total[name] > 1e-9), key=lambda name: -total[name])
    apart, others = ranked, ranked[:0]
    if len(ranked) > FEATURES:
        apart, others = ranked[: FEATURES - 1], ranked[FEATURES - 1 :]
    pulls = {prose(name): by_feature[name] for name in apart}
    if others:
        pulls[f"{len(others)} others"] = _added(by_feature, others)
    return pulls


def _added(by_feature: Mapping[str, tuple[float, ...]], names: Sequence[str]) -> tuple[float, ...]:
    return tuple(map(sum, zip(*(by_feature[name] for name in names), strict=True)))


def _most_moved(found: Sequence[Explanation]) -> list[int]:
    """The places of those that the features together moved most, in the order of the network."""
    moved = [abs(sum(one.contributions.values())) for one in found]
    return sorted(sorted(range(len(found)), key=lambda place: -moved[place])[:TOLD])
