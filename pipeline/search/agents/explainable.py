"""The explainable poster's agent (000_accc842e532b0134): AMC's DDPG with a linear actor in place of the deep one.

The share of a site that stays is the sigmoid of a linear map of the features, so that each decision is a sum of what
the features asked for (`pipeline/search/explain.py`). An L1 penalty on the actor's weights selects features. The poster
gives no hyperparameters: DDPG's are AMC's, apart from the linear actor's own learning rate and penalty, which were
chosen on a toy problem. `actor: mlp` is the deep actor that the poster compares it with, on the same features.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from pipeline.records import Record
from pipeline.run_folder import append_json_line, write_json
from pipeline.search import features
from pipeline.search.actions import WeightShares
from pipeline.search.ddpg import Ddpg, DdpgOptions, Walk, train
from pipeline.search.env import PruneEnv
from pipeline.search.explain import AS_SHARE, explain, importance
from pipeline.search_section import SearchSection
from pipeline.section import Positive, validate_section
from pipeline.subject import save_weights

ACTIONS = ("bounded", "continuous")
STATE = "explainable"
LEARNING_RATES = {"linear": 1e-2, "mlp": 1e-4}


class Options(DdpgOptions):
    actor: Literal["linear", "mlp"] = "linear"
    actor_learning_rate: Positive | None = None
    """None is 0.01 for the linear actor, which has ten numbers to learn, and AMC's 0.0001 for the deep one."""
    l1: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
    """How steady a feature's gradient must be for it to have any weight, see `Ddpg`; of the linear actor alone."""


class LearningLine(Record):
    """One line of `learning.jsonl`; the last three are None for a deep actor."""

    episode: int
    reward: float
    """That of the episode's last step."""
    noise: float | None
    """Standard deviation of the exploration; None where the actions were random."""
    weights: dict[str, float] | None
    """Of the policy by feature, after the episode."""
    bias: float | None
    importance: dict[str, float] | None
    """|weight| times the feature's standard deviation over the walk."""


def search(env: PruneEnv, settings: SearchSection, seed: int, folder: Path) -> None:
    """Train for `settings.episodes` episodes, play the greedy policy once, and explain it if it is linear.

    Raises:
        ConfigError: an option that the agent does not have, or a value that it cannot take.
    """
    options = validate_section(Options, settings.options, "search.options of explainable")
    linear, sites = options.actor == "linear", env.task.sites
    names = features.names(env.task.state, len(sites))
    agent = Ddpg(
        options,
        actor_hidden=() if linear else options.hidden,
        actor_learning_rate=options.actor_learning_rate or LEARNING_RATES[options.actor],
        l1=options.l1 if linear else 0.0,
        n_features=len(names),
        n_sites=len(sites),
        seed=seed,
    )
    log = folder / "learning.jsonl"
    log.unlink(missing_ok=True)

    def note(episode: int, walk: Walk, noise: float | None) -> None:
        weights, bias = _policy(agent, names) if linear else (None, None)
        important = importance(walk.states, weights) if weights else None
        line = LearningLine(
            episode=episode, reward=walk.reward, noise=noise, weights=weights, bias=bias, importance=important
        )
        append_json_line(log, line)

    greedy = train(env, agent, settings.episodes, note)
    save_weights(agent.logit, folder / "actor.safetensors")
    if linear:
        walked = sites[: len(greedy.actions)]
        plan = env.log.last.plan
        kept = [plan[site.name] / site.size for site in walked]
        weights, bias = _policy(agent, names)
        actions = env.task.actions
        asks = actions.in_words if isinstance(actions, WeightShares) else AS_SHARE
        names_walked = [site.name for site in walked]
        write_json(folder / "explanations.json", explain(names_walked, greedy.states, kept, weights, bias, asks))


def _policy(agent: Ddpg, names: tuple[str, ...]) -> tuple[dict[str, float], float]:
    """Weight by feature, and the bias."""
    weights, bias = agent.logit.parameters()
    return dict(zip(names, weights.detach()[0].tolist(), strict=True)), bias.item()
