"""One threshold over all groups, and torch-pruning is who draws it."""

from pathlib import Path

import pytest

from pipeline.search.agents import global_l1
from pipeline.search_section import SearchSection
from tests.pipeline.search.toy import ratio, toy_env


@pytest.mark.parametrize("p", [1, 2])
def test_the_plan_meets_the_aim_and_is_played_once_where_nothing_is_measured(tmp_path: Path, p: int) -> None:
    env = toy_env(tmp_path)
    global_l1.search(env, SearchSection(agent="global_l1", options={"p": p}), 0, tmp_path)
    assert len(env.log.episodes) == 1
    assert 0.2 < ratio(env.log.last.plan) <= 0.45
