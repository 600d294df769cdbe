"""Controls cost what the pruned network costs: as predicted, and of those that come near, as measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import pytest

from pipeline.config import ControlName
from pipeline.search.controls import control_plan
from pipeline.search.cost import CostAnswer, Counted
from pipeline.search.recovery import Recovery
from tests.pipeline.search.toy import CHANNELS, VALUE, toy_subject

GRID = dict.fromkeys(VALUE, tuple(range(2, CHANNELS + 1)))
PRUNED = {"a": 5, "b": 12, "c": 7}
SLOWER = 1.05


def ratio(kept: Mapping[str, int]) -> float:
    """A chain of layers, each of which costs what it reads times what it writes."""
    a, b, c = (kept[name] / CHANNELS for name in VALUE)
    return (a + a * b + b * c + c) / 4


class Chain(Counted):
    def __init__(self, cost: str) -> None:
        self.cost = cost

    def step(self, kept: Mapping[str, int]) -> CostAnswer:
        return CostAnswer(cost=self.cost, ratio=ratio(kept), target_ratio=0.5)  # type: ignore[arg-type]


@dataclass
class Comparison:
    ratio: float


@dataclass
class Sitting:
    comparisons: list[Comparison]


class Meter:
    """A device on which the pruned plan alone takes longer than predicted."""

    def fresh(self, plans: Sequence[Mapping[str, int]]) -> Sitting:
        pruned, *others = [ratio(plan) for plan in plans]
        return Sitting([Comparison(SLOWER * pruned), *map(Comparison, others)])


def control(name: str, cost: str) -> dict[str, Any]:
    subject = toy_subject(tuple(VALUE), CHANNELS)
    parts: Any = {"recovery": Recovery(subject), "source": Chain(cost), "meter": Meter()}
    plan = control_plan(name, PRUNED, subject=subject, grid=GRID, **parts)  # type: ignore[arg-type]
    assert plan.provenance["control"] == name
    whole = dict.fromkeys(VALUE, CHANNELS)
    return {"kept": whole | plan.keep_counts(), **plan.provenance}


@pytest.mark.parametrize("name", get_args(ControlName))
def test_it_costs_what_the_pruned_network_costs(name: str) -> None:
    counted, measured = control(name, "macs"), control(name, "latency")
    assert ratio(counted["kept"]) == pytest.approx(ratio(PRUNED), rel=0.06)
    assert measured["pruned_latency_ratio"] == SLOWER * ratio(PRUNED)
    assert ratio(measured["kept"]) == measured["latency_ratio"] == pytest.approx(SLOWER * ratio(PRUNED), rel=0.1)


def test_each_is_another_plan() -> None:
    plans = [tuple(control(name, "macs")["kept"].values()) for name in get_args(ControlName)]
    assert len(set(plans)) == len(plans)
