"""PuRL's agent (001_147cc4adf19daa6c): a deep Q-network with the paper's hyperparameters.

Buffer 400, exploration fraction 0.7, discount 0.982, target update every 15 steps. Departures: stable-baselines3's
vanilla DQN instead of Baselines' duelling one, whose learning rate (5e-4) and batch size (32) are kept; learning starts
after the first episode, since Baselines' 1,000 steps would be most of the search. Every one of them can be set in
`search.options`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stable_baselines3 import DQN

from pipeline.config import SearchSection
from pipeline.errors import ConfigError
from pipeline.search.env import PruneEnv

HYPERPARAMETERS: dict[str, Any] = {
    "buffer_size": 400,
    "exploration_fraction": 0.7,
    "exploration_final_eps": 0.02,
    "gamma": 0.982,
    "target_update_interval": 15,
    "learning_rate": 5e-4,
    "batch_size": 32,
    "train_freq": 1,
}


def search(env: PruneEnv, settings: SearchSection, seed: int, folder: Path) -> None:
    """Train for `settings.episodes` episodes, then play the greedy policy once.

    Raises:
        ConfigError: an option that the agent does not have.
    """
    unknown = sorted(set(settings.options) - {*HYPERPARAMETERS, "learning_starts", "net_arch"})
    if unknown:
        known = ", ".join([*HYPERPARAMETERS, "learning_starts", "net_arch"])
        raise ConfigError(f"search.options: dqn has no option {unknown[0]!r}; it has {known}")
    options = {"learning_starts": len(env.task.groups), **HYPERPARAMETERS, **settings.options}
    net_arch = options.pop("net_arch", [64, 64])
    agent = DQN("MlpPolicy", env, policy_kwargs={"net_arch": net_arch}, seed=seed, device="cpu", **options)
    agent.learn(total_timesteps=settings.episodes * len(env.task.groups))
    agent.save(folder / "agent.zip")
    env.kind = "greedy"
    state, _ = env.reset()
    done = False
    while not done:
        action, _ = agent.predict(state, deterministic=True)
        state, _, done, _, _ = env.step(int(action))
