"""What cannot work is refused before anything is trained, and what can is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.config import Config, validate_config
from pipeline.errors import ConfigError, PipelineError, RewardRejectedError
from pipeline.preflight import check_devices, check_names
from pipeline.progress import Silent
from pipeline.run_folder import RunFolder
from pipeline.search.agents import names
from pipeline.stages import baseline
from pipeline.subject import Subject
from tests.pipeline.toy import SIDE, toy_data

WHOLE_PLANS = ("fixed", "global_l1", "greedy", "knapsack", "tradeoff")
WEIGHTS: dict[str, Any] = {"pruning": {"kind": "weights"}}
SPARSE = {"sparsity": 0.6}


def config(sections: dict[str, Any] | None = None, **search: Any) -> Config:
    return validate_config({"name": "x", **(sections or {}), "search": search})


@pytest.mark.parametrize("agent", names())
def test_episodes_of_whole_plans_cannot_be_given_up(agent: str) -> None:
    asked = config(agent=agent, stop_below=0.2)
    if agent in WHOLE_PLANS:
        with pytest.raises(ConfigError, match=rf"search\.stop_below 0\.2: {agent} makes whole plans .*; leave it out"):
            check_names(asked)
    else:
        check_names(asked)
    check_names(config(agent=agent, stop_below=0.0))


def test_a_given_plan_of_weights_is_judged_layer_by_layer() -> None:
    check_names(config(WEIGHTS, agent="fixed", target=SPARSE, stop_below=0.2))


@pytest.mark.parametrize(
    ("sections", "search", "remedy"),
    [
        ({}, {"actions": "continuous", "fit_to_target": False}, r"set search\.actions to bounded"),
        ({}, {"actions": "continuous", "latency_source": "measured"}, r"search\.latency_source table or hybrid"),
        ({}, {"agent": "dqn", "fit_to_target": False}, r"or search\.fit_to_target to true"),
        (WEIGHTS, {"target": SPARSE}, r"leave search\.reward\.name out$"),
    ],
)
def test_a_reward_of_accuracy_alone_needs_a_budget(
    sections: dict[str, Any], search: dict[str, Any], remedy: str
) -> None:
    with pytest.raises(ConfigError, match=rf"'amc' pays accuracy alone, and nothing .*{remedy}"):
        check_names(config(sections, **{"agent": "amc", "reward": {"name": "amc"}, **search}))


@pytest.mark.parametrize(
    "search",
    [
        {},
        {"fit_to_target": False},  # bounded
        {"actions": "continuous"},
        {"actions": "continuous", "latency_source": "measured", "target": {"macs": 0.5}},
        {"agent": "tradeoff", "fit_to_target": False},
    ],
)
def test_a_reward_of_accuracy_alone_goes_with_a_budget(search: dict[str, Any]) -> None:
    check_names(config(**{"agent": "amc", "reward": {"name": "amc"}, **search}))


@pytest.mark.parametrize(("sections", "target"), [({}, {"macs": 0.5}), (WEIGHTS, SPARSE)])
def test_any_device_will_do_where_none_pays(sections: dict[str, Any], target: dict[str, float]) -> None:
    with pytest.raises(RewardRejectedError, match="of kind 'fake'"):
        check_devices(config({"device": "fake://lab"}))
    check_devices(config({**sections, "device": "fake://lab"}, target=target))


@pytest.mark.parametrize(
    ("pruning", "target", "keep", "message"),
    [
        (
            {"round_to": 1},
            {"macs": 0.5},
            {"nothing": 4},
            r"keep: 'nothing' is nothing that may be pruned here; known: ",
        ),
        ({"round_to": 1}, {"macs": 0.5}, {"0": 400}, "keep: 0 has 8, and cannot keep 400"),
        ({"kind": "weights"}, SPARSE, {"nothing": 4}, r"keep: 'nothing' .* known: 0, 3, 8"),
        ({"kind": "weights", "skip": ["9*"]}, SPARSE, {}, r"pruning\.skip: '9\*' matches no layer"),
    ],
)
def test_a_plan_for_another_network_is_refused_before_this_one_is_trained(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pruning: dict[str, Any],
    target: dict[str, float],
    keep: dict[str, int],
    message: str,
) -> None:
    sections = {"model": {"name": "tests.pipeline.toy:toy"}, "data": {"image_size": SIDE}, "pruning": pruning}
    monkeypatch.setattr(Subject, "data", toy_data())
    monkeypatch.setattr(Subject, "fit", lambda *args, **options: pytest.fail("trained"))
    asked = config(sections, agent="fixed", target=target, options={"keep": keep})
    with pytest.raises(PipelineError, match=message):
        baseline.run(asked, RunFolder(tmp_path / "run"), tmp_path, Silent())
