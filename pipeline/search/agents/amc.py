"""AMC's agent (He et al., "AMC: AutoML for Model Compression", 2018): DDPG whose actor has hidden layers.

The hyperparameters are those of its code (see `pipeline/search/ddpg.py`). With `bounded` actions the budget stays
within reach at every step, as in its Algorithm 1; its own reward is `search.reward.name: amc`.
Departure: what is pruned are groups of output channels, by the importance that `pruning.importance` names.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.records import Record
from pipeline.run_folder import append_json_line
from pipeline.search import features
from pipeline.search.ddpg import Ddpg, DdpgOptions, Walk, train
from pipeline.search.env import PruneEnv
from pipeline.search_section import SearchSection
from pipeline.section import Positive, validate_section
from pipeline.subject import save_weights

ACTIONS = ("bounded", "continuous")
STATE = "amc"


class Options(DdpgOptions):
    actor_learning_rate: Positive = 1e-4


class LearningLine(Record):
    """One line of `learning.jsonl`."""

    episode: int
    reward: float
    """That of the episode's last step."""
    noise: float | None
    """Standard deviation of the exploration; None where the actions were random."""


def search(env: PruneEnv, settings: SearchSection, seed: int, folder: Path) -> None:
    """Train for `settings.episodes` episodes, then play the greedy policy once.

    Raises:
        ConfigError: an option that the agent does not have, or a value that it cannot take.
    """
    options = validate_section(Options, settings.options, "search.options of amc")
    n_sites = len(env.task.sites)
    agent = Ddpg(
        options,
        actor_hidden=options.hidden,
        actor_learning_rate=options.actor_learning_rate,
        n_features=len(features.names(env.task.state, n_sites)),
        n_sites=n_sites,
        seed=seed,
    )
    log = folder / "learning.jsonl"
    log.unlink(missing_ok=True)

    def note(episode: int, walk: Walk, noise: float | None) -> None:
        append_json_line(log, LearningLine(episode=episode, reward=walk.reward, noise=noise))

    train(env, agent, settings.episodes, note)
    save_weights(agent.logit, folder / "actor.safetensors")
