"""PuRL's agent (001_147cc4adf19daa6c): a deep Q-network with the paper's hyperparameters.

Buffer 400, exploration fraction 0.7, discount 0.982, target update every 15 steps. Departures: stable-baselines3's
vanilla DQN instead of Baselines' duelling one, whose learning rate (5e-4) and batch size (32) are kept; learning starts
after the first episode, since Baselines' 1,000 steps would be most of the search. Every one of them can be set in
`search.options`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field
from stable_baselines3 import DQN

from pipeline.config import Positive, PositiveInt, SearchSection, Section, validate_section
from pipeline.search.env import PruneEnv

Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Options(Section):
    buffer_size: PositiveInt = 400
    exploration_fraction: Share = 0.7
    exploration_final_eps: Share = 0.02
    gamma: Share = 0.982
    target_update_interval: PositiveInt = 15
    learning_rate: Positive = 5e-4
    batch_size: PositiveInt = 32
    train_freq: PositiveInt = 1
    learning_starts: Annotated[int, Field(ge=0)] | None = None
    """Steps before the first update; null is one episode."""
    net_arch: tuple[PositiveInt, ...] = (64, 64)
    """Width of each hidden layer."""


def search(env: PruneEnv, settings: SearchSection, seed: int, folder: Path) -> None:
    """Train for `settings.episodes` episodes, then play the greedy policy once.

    Raises:
        ConfigError: an option that the agent does not have, or a value that it cannot take.
    """
    options = validate_section(Options, settings.options, "search.options of dqn").model_dump()
    if options["learning_starts"] is None:
        options["learning_starts"] = len(env.task.groups)
    layers = {"net_arch": list(options.pop("net_arch"))}
    agent = DQN("MlpPolicy", env, policy_kwargs=layers, seed=seed, device="cpu", **options)
    agent.learn(total_timesteps=settings.episodes * len(env.task.groups))
    agent.save(folder / "agent.zip")
    env.kind = "greedy"
    state, _ = env.reset()
    done = False
    while not done:
        action, _ = agent.predict(state, deterministic=True)
        state, _, done, _, _ = env.step(int(action))
