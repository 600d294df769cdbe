"""The DDPG that AMC and the explainable agent share: its noise, its buffer, its learning, its determinism."""

import numpy as np
import pytest
import torch

from pipeline.search.ddpg import Ddpg, DdpgOptions, Walk, one_thread

N_FEATURES = 2


def agent(
    seed: int = 0, *, linear: bool = True, rate: float = 0.01, l1: float = 0.0, baseline_rate: float = 0.5
) -> Ddpg:
    return Ddpg(
        DdpgOptions(hidden=(32, 32), buffer_episodes=50, baseline_rate=baseline_rate),
        actor_hidden=() if linear else (32, 32),
        actor_learning_rate=rate,
        l1=l1,
        n_features=N_FEATURES,
        n_sites=3,
        seed=seed,
    )


STATE = np.array([0.2, 0.9], dtype=np.float32)


def play_bandit(ddpg: Ddpg, episodes: int, mask: tuple[float, float] = (1.0, 1.0)) -> None:
    """Episodes of three steps that ask to keep all where the first feature is 1, and nothing where it is 0."""
    rng = np.random.default_rng(1)
    for episode in range(episodes):
        states = (rng.integers(2, size=(3, N_FEATURES)) * mask).astype(np.float32)
        noise = None if episode < 20 else 0.3
        actions = np.stack([ddpg.act(state, noise) for state in states])
        reward = -float(np.mean(np.abs(states[:, 0] - actions[:, 0])))
        ddpg.learn(Walk(states, actions, reward), critic_alone=noise is None)


@pytest.mark.parametrize("noise", [None, 0.0, 1e-6, 0.05, 0.5, 3.0])
def test_an_action_is_a_share_however_wide_the_noise(noise: float | None) -> None:
    ddpg = agent()
    for action in (ddpg.act(STATE, noise) for _ in range(100)):
        assert action.shape == (1,) and action.dtype == np.float32 and 0.0 <= action[0] <= 1.0


def test_noise_is_centred_on_the_policy_and_is_cut_off_not_heaped_at_the_bounds() -> None:
    ddpg = agent()
    greedy = float(ddpg.act(STATE, 0.0)[0])
    drawn = np.concatenate([ddpg.act(STATE, 0.1) for _ in range(2000)])
    assert greedy == pytest.approx(0.5, abs=0.01)
    assert drawn.mean() == pytest.approx(greedy, abs=0.01) and drawn.std() == pytest.approx(0.1, rel=0.1)
    wide = np.concatenate([ddpg.act(STATE, 2.0) for _ in range(2000)])
    assert not np.isin(wide, [0.0, 1.0]).any()
    assert np.abs(np.quantile(wide, [0.25, 0.5, 0.75]) - [0.25, 0.5, 0.75]).max() < 0.05


@pytest.mark.parametrize("linear", [True, False])
def test_it_learns_what_a_state_asks_for(linear: bool) -> None:
    ddpg = agent(linear=linear, rate=0.02 if linear else 1e-3)
    play_bandit(ddpg, 150)
    low, high = (ddpg.act(np.array([wanted, 0.5], dtype=np.float32), 0.0)[0] for wanted in (0.0, 1.0))
    assert low < 0.25 and high > 0.75


def test_the_penalty_makes_a_weight_that_nothing_asks_for_exactly_zero() -> None:
    def weights(l1: float) -> list[float]:
        ddpg = agent(rate=0.02, l1=l1)
        play_bandit(ddpg, 100, mask=(1.0, 0.0))
        return next(iter(ddpg.logit.parameters()))[0].tolist()

    (free, unused), (penalised, selected) = weights(0.0), weights(0.3)
    assert unused != 0.0 and selected == 0.0
    assert free > penalised > 1.0


def test_random_episodes_teach_the_critic_and_leave_the_actor_alone() -> None:
    ddpg = agent()
    before = ddpg.act(STATE, 0.0)
    walk = Walk(np.ones((3, 2), np.float32), np.ones((3, 1), np.float32), 1.0)
    ddpg.learn(walk, critic_alone=True)
    assert ddpg.act(STATE, 0.0) == before
    ddpg.learn(walk, critic_alone=False)
    assert ddpg.act(STATE, 0.0) != before


def test_equal_seeds_and_equal_answers_give_equal_actions_on_any_number_of_threads() -> None:
    def last_actions(seed: int, threads: int) -> list[float]:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        torch.rand(threads)  # torch's own generator is somewhere else each time
        try:
            ddpg = agent(seed, linear=False)
            play_bandit(ddpg, 30)
            assert torch.get_num_threads() == threads
            return [float(ddpg.act(STATE, noise)[0]) for noise in (None, 0.2, 0.0)]
        finally:
            torch.set_num_threads(before)

    assert last_actions(0, 1) == last_actions(0, 2)
    assert last_actions(0, 1) != last_actions(1, 1)


def test_building_an_agent_leaves_the_generator_of_torch_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    agent()
    assert torch.rand(1) == expected


def test_the_threads_come_back_after_an_error() -> None:
    before = torch.get_num_threads()
    with pytest.raises(ValueError), one_thread():
        assert torch.get_num_threads() == 1
        raise ValueError
    assert torch.get_num_threads() == before
