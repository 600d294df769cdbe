"""Deep deterministic policy gradient as AMC uses it, for actions that are one share from 0 to 1.

Lillicrap et al., "Continuous control with deep reinforcement learning" (2016); what is AMC's own is taken from its code
(github.com/mit-han-lab/amc): noise from a truncated normal distribution that shrinks with every episode, the last
reward of an episode copied to each of its steps, a moving average of the rewards taken off them as a baseline, updates
only between episodes, one for each step. stable-baselines3's DDPG can do neither the first two nor the third.

Departures: the batch is drawn with replacement; the steps of an episode are all stored before the first update; the
random episodes are a share of all, so that short searches learn as well, and they teach the critic already: an actor
that follows an untrained one runs into 0 or 1, where its gradient is gone.

Equal seeds and equal answers of the environment give equal actions on any number of threads: a search is resumed by
playing it again.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from scipy.special import ndtr, ndtri
from torch import Tensor, nn

from pipeline.search.env import PruneEnv
from pipeline.search.features import State
from pipeline.section import OpenShare, Positive, PositiveInt, Section

LAST_LAYER = 3e-3
"""Weights of the last layers start within this, so that the first actions are near 0.5 (Lillicrap et al., 7)."""
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Floats = NDArray[np.float32]


class DdpgOptions(Section):
    """The defaults are AMC's; where its paper and its code differ, its code's."""

    hidden: tuple[PositiveInt, ...] = (300, 300)
    """Width of each hidden layer, of the critic and of an actor that is not linear."""
    critic_learning_rate: Positive = 1e-3
    tau: OpenShare = 0.01
    """How far the target networks follow at each update."""
    gamma: Share = 1.0
    batch_size: PositiveInt = 64
    buffer_episodes: PositiveInt = 100
    warmup: Share = 0.125
    """Share of the episodes that are random: 100 of 800."""
    noise: Positive = 0.5
    """Standard deviation of the exploration after the random episodes, as a share of a site,"""
    noise_decay: Share = 0.95
    """multiplied by this after each episode."""
    baseline_rate: Share = 0.5
    """How far the baseline follows a batch's mean reward."""
    updates_per_step: PositiveInt = 1


@dataclass(frozen=True)
class Walk:
    """One episode as the agent saw it; `reward` is that of its last step, whatever was paid before."""

    states: Floats  # (steps, features)
    actions: Floats  # (steps, 1)
    reward: float


def mlp(n_inputs: int, hidden: tuple[int, ...]) -> nn.Sequential:
    """A network with one output; with no hidden layer it is linear."""
    widths = (n_inputs, *hidden)
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    last = nn.Linear(widths[-1], 1)
    nn.init.uniform_(last.weight, -LAST_LAYER, LAST_LAYER)
    nn.init.uniform_(last.bias, -LAST_LAYER, LAST_LAYER)
    return nn.Sequential(*layers, last)


class Ddpg:
    """The agent: an actor, a critic, their targets and the buffer."""

    def __init__(
        self,
        options: DdpgOptions,
        *,
        actor_hidden: tuple[int, ...],
        actor_learning_rate: float,
        l1: float = 0.0,
        n_features: int,
        n_sites: int,
        seed: int,
    ) -> None:
        """`l1` pulls the actor's weights (not its biases) towards zero, see `_shrink`."""
        self.options = options
        self._rng = np.random.default_rng(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.logit = mlp(n_features, actor_hidden)
            self._critic = mlp(n_features + 1, options.hidden)
        self._actor = nn.Sequential(self.logit, nn.Sigmoid())
        self._actor_target, self._critic_target = copy.deepcopy(self._actor), copy.deepcopy(self._critic)
        self._actor_step = torch.optim.Adam(self._actor.parameters(), actor_learning_rate)
        self._critic_step = torch.optim.Adam(self._critic.parameters(), options.critic_learning_rate)
        self._shrinkage = l1 * actor_learning_rate
        self._buffer = _Buffer(options.buffer_episodes * n_sites, n_features)
        self._baseline: float | None = None

    def act(self, state: State, noise: float | None) -> Floats:
        """(1,): the share of the site to keep.

        Args:
            noise: standard deviation around the policy's own action; 0 is greedy, None random.
        """
        if noise is None:
            return self._rng.uniform(0.0, 1.0, 1).astype(np.float32)
        with one_thread(), torch.no_grad():
            greedy: Floats = self._actor(torch.tensor(state)).numpy()
        return greedy if noise == 0.0 else self._near(float(greedy[0]), noise)

    def _near(self, mean: float, deviation: float) -> Floats:
        """A draw from the normal distribution cut off at 0 and 1, by its inverse."""
        low, high = ndtr(-mean / deviation), ndtr((1.0 - mean) / deviation)
        drawn = mean + deviation * ndtri(self._rng.uniform(low, high, 1))
        clipped: Floats = np.clip(drawn, 0.0, 1.0).astype(np.float32)
        return clipped

    def learn(self, walk: Walk, *, critic_alone: bool) -> None:
        """Store an episode, then update the critic once for each of its steps, and the actor unless it is left out."""
        self._buffer.add(walk)
        with one_thread():
            for _ in range(len(walk.actions) * self.options.updates_per_step):
                states = self._update_critic()
                if not critic_alone:
                    self._update_actor(states)

    def _update_critic(self) -> Tensor:
        """Returns the states of the batch."""
        states, actions, rewards, following, goes_on = self._buffer.draw(self.options.batch_size, self._rng)
        mean = float(rewards.mean())
        before = mean if self._baseline is None else self._baseline
        self._baseline = before + self.options.baseline_rate * (mean - before)
        with torch.no_grad():
            after = self._critic_target(torch.cat([following, self._actor_target(following)], dim=1))
            wanted = rewards - self._baseline + self.options.gamma * goes_on * after
        error = nn.functional.mse_loss(self._critic(torch.cat([states, actions], dim=1)), wanted)
        self._critic_step.zero_grad()
        error.backward()  # type: ignore[no-untyped-call]
        self._critic_step.step()
        self._follow(self._critic_target, self._critic)
        return states

    def _update_actor(self, states: Tensor) -> None:
        loss = -self._critic(torch.cat([states, self._actor(states)], dim=1)).mean()
        parameters = list(self._actor.parameters())
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.grad = gradient
        self._actor_step.step()
        self._shrink()
        self._follow(self._actor_target, self._actor)

    @torch.no_grad()
    def _shrink(self) -> None:
        """The L1 penalty as a proximal step: what is within it of zero becomes zero, which a gradient never does.

        Beside Adam's normalised steps it is free of the reward's scale: a weight of zero stays there unless its
        gradients' mean is more than `l1` of their root mean square.
        """
        if self._shrinkage:
            for weight in (parameter for parameter in self.logit.parameters() if parameter.ndim == 2):
                weight.copy_(nn.functional.softshrink(weight, self._shrinkage))

    @torch.no_grad()
    def _follow(self, target: nn.Module, source: nn.Module) -> None:
        for slow, fast in zip(target.parameters(), source.parameters(), strict=True):
            slow.lerp_(fast, self.options.tau)


class _Buffer:
    """The newest steps, in a ring."""

    def __init__(self, capacity: int, n_features: int) -> None:
        self._states, self._following = np.zeros((2, capacity, n_features), dtype=np.float32)
        self._actions, self._rewards, self._goes_on = np.zeros((3, capacity, 1), dtype=np.float32)
        self._added = 0

    def add(self, walk: Walk) -> None:
        n_steps = len(walk.actions)
        rows = np.arange(self._added, self._added + n_steps) % len(self._states)
        self._states[rows], self._actions[rows] = walk.states, walk.actions
        self._rewards[rows] = walk.reward
        self._following[rows] = np.roll(walk.states, -1, axis=0)  # the last step's is never looked at
        self._goes_on[rows, 0] = np.arange(n_steps) < n_steps - 1
        self._added += n_steps

    def draw(self, n: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """States (n, features), actions, rewards (n, 1), the states that followed, and 1 unless the walk ended."""
        rows = rng.integers(min(self._added, len(self._states)), size=n)
        columns = (self._states, self._actions, self._rewards, self._following, self._goes_on)
        states, actions, rewards, following, goes_on = (torch.tensor(column[rows]) for column in columns)
        return states, actions, rewards, following, goes_on


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread: the networks are too small for more, and sums must not depend on how many there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def play(env: PruneEnv, act: Callable[[State], Floats]) -> Walk:
    """One whole episode."""
    states, actions, reward, over = [], [], 0.0, False
    state, _ = env.reset()
    while not over:
        action = act(state)
        states.append(state)
        actions.append(action)
        state, reward, over, _, _ = env.step(action)
    return Walk(np.stack(states), np.stack(actions), reward)


def train(env: PruneEnv, agent: Ddpg, episodes: int, after_episode: Callable[[int, Walk, float | None], None]) -> Walk:
    """Explore and learn for so many episodes, then play the greedy policy once, and return that walk.

    Args:
        after_episode: called with the episode's number, its walk and its noise (None: it was random).
    """
    options = agent.options
    random_episodes = round(options.warmup * episodes)
    for episode in range(episodes):
        after_random = episode - random_episodes
        noise = None if after_random < 0 else options.noise * options.noise_decay**after_random
        walk = play(env, lambda state, noise=noise: agent.act(state, noise))  # type: ignore[misc]
        agent.learn(walk, critic_alone=noise is None)
        after_episode(episode, walk, noise)
    env.kind = "greedy"
    return play(env, lambda state: agent.act(state, 0.0))
