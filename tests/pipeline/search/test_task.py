"""Actions are drawn around the uniform plan that meets the target, and every plan is brought to the target."""

import numpy as np
import pytest

from pipeline.config import Config, validate_config
from pipeline.errors import ConfigError
from pipeline.pruning.costs import trace_shape
from pipeline.pruning.groups import keep_values
from pipeline.search.actions import channel_choices
from pipeline.search.cost import AIM
from pipeline.search.latency import Tabled
from pipeline.search.latency_model import TablePoint
from pipeline.search.latency_table import LatencyModel
from pipeline.search.profile import random_variants
from pipeline.search.task import fit_to_target, uniform_at
from tests.pipeline.pruning.conftest import SHAPE, dense, dense_groups
from tests.pipeline.search.tables import GRID, GROUPS, SETTINGS, table_of, truth


def config(**search: object) -> Config:
    return validate_config({"name": "x", "search": search})


def source(**search: object) -> Tabled:
    shape = trace_shape(dense("mobilenet_v2"), dense_groups("mobilenet_v2"), SHAPE)
    variants = random_variants(GRID, 30, SETTINGS, seed=0)
    points = [TablePoint(keep_counts=counts, ratio=truth(shape, counts)) for counts in variants]
    return Tabled([LatencyModel(shape, table_of(points))], config(**search).search.target)


def test_the_middle_action_is_the_uniform_plan_at_the_target() -> None:
    asked = config(target={"latency": 0.4})
    table = source(target={"latency": 0.4})
    share, uniform = uniform_at(table, GRID, asked)
    assert table.step(uniform).ratio == pytest.approx(0.4 * AIM, rel=0.05)
    choices = channel_choices(GRID, n_actions=9, min_keep=0.1, around=share, span=1.6)
    for group in GROUPS:
        offered = choices[group.name]
        assert len(offered) == 9 and list(offered) == sorted(offered)
        assert offered[len(offered) // 2] == uniform[group.name]
        assert set(offered) <= set(keep_values(group.channels, SETTINGS))


def test_absolute_actions_reach_from_the_smallest_to_all() -> None:
    choices = channel_choices(GRID, n_actions=9, min_keep=0.1, around=None, span=1.6)
    for group in GROUPS:
        assert (choices[group.name][0], choices[group.name][-1]) == (
            keep_values(group.channels, SETTINGS)[0],
            group.channels,
        )


@pytest.mark.parametrize("seed", range(5))
def test_a_plan_is_brought_to_the_target_and_keeps_its_proportions(seed: int) -> None:
    asked = {"target": {"latency": 0.4}}
    table, rng = source(**asked), np.random.default_rng(seed)
    plan = {g.name: int(rng.choice(keep_values(g.channels, SETTINGS))) for g in GROUPS}
    fitted = fit_to_target(table, GRID, plan)
    assert table.step(fitted).ratio == pytest.approx(0.4 * AIM, rel=0.08)
    wide = [g.name for g in GROUPS if g.channels >= 128]
    channels = {g.name: g.channels for g in GROUPS}
    shares = [plan[name] / channels[name] for name in wide]
    kept = [fitted[name] / channels[name] for name in wide]
    assert np.corrcoef(shares, kept)[0, 1] > 0.8


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({"latency": 0.02}, r"2\.0% of the dense latency cannot be reached: the smallest network"),
        ({"latency_ms": 5.0}, "already takes 2 ms, which is no more than the target allows"),
        ({"fps": 100}, "already takes 2 ms"),
    ],
)
def test_a_target_that_makes_no_sense_is_refused(target: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        uniform_at(source(target=target), GRID, config(target=target))
