"""The plan that wins: the best of the log, measured afresh and interleaved, and briefly fine-tuned.

A search that picks the smallest of noisy numbers picks the luckiest, so what the search itself saw decides only who
gets here; what is reported was measured again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pipeline.errors import SearchError
from pipeline.records import EnergyResult, Episode, Evaluation, Record, over_target
from pipeline.run_folder import hash_json
from pipeline.search.energy import EnergyAndLatency
from pipeline.search.latency import target_ratio
from pipeline.search.meter import LatencyMeter
from pipeline.search.recovery import Recovery
from pipeline.subject import Subject

COST_WORDS = {"latency": "latency", "macs": "MACs", "sparsity": "network's weights"}


class Finalist(Record):
    """One of the best plans."""

    plan_id: str
    episode: int
    kind: str
    plan: dict[str, int]
    ratio: float | None
    """Its latency over the dense network's, measured afresh; None where weights are pruned."""
    ci95: tuple[float, float] | None
    cost_ratio: float
    """The share of the dense cost that is left: `ratio` where latency is what shall be saved."""
    target_ratio: float
    energy: EnergyResult | None
    """As measured at the end of the plan's episode; None where energy is no part of the reward."""
    validation: Evaluation
    """After `search.finalist_epochs` of fine-tuning."""

    @property
    def of_target(self) -> float:
        """The cost over its target, the worse of those that count; 1 or less meets them all."""
        return over_target(self.cost_ratio / self.target_ratio, self.energy)

    @property
    def meets_targets(self) -> bool:
        return self.of_target <= 1.0


def shortlist(episodes: Sequence[Episode], count: int) -> list[Episode]:
    """The `count` episodes that ended best, each plan once: targets met first, then the highest last reward.

    Raises:
        SearchError: every episode was given up.
    """

    def merit(episode: Episode) -> tuple[bool, float]:
        end = episode.steps[-1]
        return end.meets_targets, end.reward

    distinct: dict[frozenset[tuple[str, int]], Episode] = {}
    whole = [episode for episode in episodes if episode.failure is None]
    if not whole:
        last = episodes[-1]
        raise SearchError(
            f"every episode was given up, the last one {(last.failure or '').removeprefix('given up ')}; have the "
            f"target leave more than {last.steps[-1].target_ratio:.0%} of the dense "
            f"{COST_WORDS[last.steps[-1].cost]}, give the network more to recover with (search.recover), or lower "
            "search.stop_below"
        )
    for episode in sorted(whole, key=merit, reverse=True):
        distinct.setdefault(frozenset(episode.plan.items()), episode)
    return list(distinct.values())[:count]


def judge_finalists(
    subject: Subject,
    recovery: Recovery,
    meters: Sequence[LatencyMeter],
    episodes: Sequence[Episode],
    energy: EnergyAndLatency | None,
    on_finalist: Callable[[int], None],
) -> list[Finalist]:
    """Measure the episodes' plans together on every device and fine-tune each for a few epochs; best first."""
    config = subject.config
    sittings = [meter.fresh([episode.plan for episode in episodes]) for meter in meters]
    targets = [target_ratio(config.search.target, sitting.dense_ms) for sitting in sittings]
    finalists = []
    for number, episode in enumerate(episodes):
        pairs = [(sitting.comparisons[number], target) for sitting, target in zip(sittings, targets, strict=True)]
        comparison, target = max(pairs, key=lambda pair: pair[0].ratio / pair[1])
        cost_ratio = comparison.ratio
        if config.search.target.cost != "latency":
            cost_ratio, target = episode.steps[-1].cost_ratio, episode.steps[-1].target_ratio
        finalists.append(
            Finalist(
                plan_id=hash_json(episode.plan)[:12],
                episode=episode.index,
                kind=episode.kind,
                plan=episode.plan,
                ratio=comparison.ratio,
                ci95=comparison.ci95,
                cost_ratio=cost_ratio,
                target_ratio=target,
                energy=energy.result(episode.plan, target) if energy else None,
                validation=recovery.fine_tuned(episode.plan),
            )
        )
        on_finalist(number + 1)
    return sorted(finalists, key=merit, reverse=True)


def merit(finalist: Finalist) -> tuple[bool, float, float]:
    """Targets met, then validation accuracy, then loss; among those that miss a target the nearest to it."""
    if not finalist.meets_targets:
        return False, -finalist.of_target, 0.0
    return True, finalist.validation.top1, -finalist.validation.loss
