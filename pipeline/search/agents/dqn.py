"""PuRL's agent (001_147cc4adf19daa6c): a deep Q-network with the paper's hyperparameters.

Buffer 400, exploration fraction 0.7, discount 0.982, target update every 15 steps. Departures: stable-baselines3's
vanilla DQN instead of Baselines' duelling one, whose learning rate (5e-4) and batch size (32) are kept; learning starts
after the first episode, since Baselines' 1,000 steps would be a third of the whole search of ResNet-50 (55 episodes of
its 54 layers). Every one of them can be set in `search.options`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field
from stable_baselines3 import DQN
from stable_baselines3.common.callbacks import StopTrainingOnMaxEpisodes

from pipeline.search.env import PruneEnv
from pipeline.search_section import SearchSection
from pipeline.section import Positive, PositiveInt, Section, validate_section

Share = Annotated[float, Field(ge=0.0, le=1.0)]


ACTIONS = ("around_target", "absolute")
STATE = "per_layer"


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
    greedy_episodes: PositiveInt = 1
    """Played with the trained policy; the amounts of more than one (the paper: 5) are averaged into a last episode."""


def search(env: PruneEnv, settings: SearchSection, seed: int, folder: Path) -> None:
    """Train for `settings.episodes` episodes, then play the greedy policy.

    Raises:
        ConfigError: an option that the agent does not have, or a value that it cannot take.
    """
    options = validate_section(Options, settings.options, "search.options of dqn").model_dump()
    if options["learning_starts"] is None:
        options["learning_starts"] = len(env.task.sites)
    greedy_episodes = options.pop("greedy_episodes")
    layers = {"net_arch": list(options.pop("net_arch"))}
    agent = DQN("MlpPolicy", env, policy_kwargs=layers, seed=seed, device="cpu", **options)
    # Episodes that are given up are shorter: the search ends with its episodes, not with so many steps.
    ends = StopTrainingOnMaxEpisodes(settings.episodes) if env.task.stop_below else None
    agent.learn(total_timesteps=settings.episodes * len(env.task.sites), callback=ends)
    agent.save(folder / "agent.zip")
    env.kind = "greedy"
    played = [_play_greedily(env, agent) for _ in range(greedy_episodes)]
    whole = [actions for actions in played if len(actions) == len(env.task.sites)]
    if greedy_episodes > 1 and whole:
        actions_by_site = zip(*whole, strict=True)
        env.play_amounts([env.task.actions.mean(i, actions) for i, actions in enumerate(actions_by_site)], "average")


def _play_greedily(env: PruneEnv, agent: DQN) -> list[int]:
    state, _ = env.reset()
    actions: list[int] = []
    done = False
    while not done:
        action, _ = agent.predict(state, deterministic=True)
        actions.append(int(action))
        state, _, done, _, _ = env.step(actions[-1])
    return actions
