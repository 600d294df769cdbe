"""Which operation of one profile is which of another: what a layer cost before and after it was pruned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from device_bench.records import OpTime, Record


class OpPair(Record):
    """One operation in two files; what they call it is the baseline's word."""

    name: str
    type: str
    baseline_ms: float
    candidate_ms: float

    @property
    def change_ms(self) -> float:
        """Below zero where the candidate is faster."""
        return self.candidate_ms - self.baseline_ms


class OpChanges(Record):
    """`pairs` in the order of the baseline; what has no partner is in one of the other two, in its own order."""

    pairs: tuple[OpPair, ...]
    baseline_only: tuple[OpTime, ...]
    candidate_only: tuple[OpTime, ...]

    def largest(self, n: int) -> tuple[OpPair, ...]:
        """The pairs that changed most, in either direction; those that did not change at all are none."""
        changed = [pair for pair in self.pairs if pair.change_ms != 0]
        return tuple(sorted(changed, key=lambda pair: -abs(pair.change_ms))[:n])


def match_ops(baseline: Sequence[OpTime], candidate: Sequence[OpTime]) -> OpChanges:
    """Pair operations of one name, the k-th with the k-th; then what is left, if its types are the same in order."""
    wanted = {key: i for i, key in enumerate(_keys(candidate))}
    partner = {i: wanted[key] for i, key in enumerate(_keys(baseline)) if key in wanted}
    taken = set(partner.values())
    left = [i for i in range(len(baseline)) if i not in partner]
    free = [i for i in range(len(candidate)) if i not in taken]
    if [baseline[i].type for i in left] == [candidate[i].type for i in free]:
        partner |= dict(zip(left, free, strict=True))
        left, free = [], []
    return OpChanges(
        pairs=tuple(_pair(op, candidate[partner[i]]) for i, op in enumerate(baseline) if i in partner),
        baseline_only=tuple(baseline[i] for i in left),
        candidate_only=tuple(candidate[i] for i in free),
    )


def _keys(ops: Sequence[OpTime]) -> list[tuple[str, int]]:
    """Name and how often it came before."""
    seen: Counter[str] = Counter()
    keys = []
    for op in ops:
        keys.append((op.name, seen[op.name]))
        seen[op.name] += 1
    return keys


def _pair(before: OpTime, after: OpTime) -> OpPair:
    return OpPair(name=before.name, type=before.type, baseline_ms=before.mean_ms, candidate_ms=after.mean_ms)


def unexplained_ms(ops: Sequence[OpTime]) -> float | None:
    """What an inference took beyond its operations, from their shares of it; None where the shares say nothing."""
    longest = max(ops, key=lambda op: op.mean_ms, default=None)
    if longest is None or longest.share <= 0:
        return None
    return max(0.0, longest.mean_ms / longest.share - sum(op.mean_ms for op in ops))


def is_one_piece(ops: Sequence[OpTime]) -> bool:
    """Whether the profile sees the whole network as one operation of a delegate."""
    return len(ops) == 1 or any(op.type.endswith("Delegate") and op.share > 0.9 for op in ops)
