"""torch-pruning says how many channels each group keeps."""

import copy

import pytest
import torch
import torch_pruning as tp

from pipeline.search.global_threshold import STEPS, GlobalThreshold
from tests.pipeline.search.toy import toy_subject

NAMES = ("a", "b", "c")
CHANNELS = 16
FINE = dict.fromkeys(NAMES, tuple(range(1, CHANNELS + 1)))


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("number", [0, 100, 300, 500])
def test_a_network_that_torch_pruning_prunes_has_the_same_widths(p: int, number: int) -> None:
    subject = toy_subject(NAMES, CHANNELS)
    kept = GlobalThreshold(subject, FINE, p).kept(number)
    slim = copy.deepcopy(subject.network)
    pruner = tp.pruner.BasePruner(
        slim,
        torch.zeros(1, *subject.input_shape),
        importance=tp.importance.MagnitudeImportance(p=p),
        global_pruning=True,
        pruning_ratio=number / STEPS * (len(NAMES) * (CHANNELS - 1) - 1) / (len(NAMES) * CHANNELS),
        ignored_layers=[slim.get_submodule("head")],
    )
    pruner.step()
    assert kept == {name: slim.get_submodule(name).out_channels for name in NAMES}
    assert number == 0 or len(set(kept.values())) > 1  # it is not the uniform plan


def test_the_harder_it_prunes_the_less_every_group_keeps_and_never_less_than_the_grid() -> None:
    grid = dict.fromkeys(NAMES, (4, 8, 12, 16))
    threshold = GlobalThreshold(toy_subject(NAMES, CHANNELS), grid, 1)
    plans = [threshold.counts(number) for number in range(0, STEPS + 1, 50)]
    assert plans[0] == dict.fromkeys(NAMES, 16) and plans[-1] == dict.fromkeys(NAMES, 4)
    for name in NAMES:
        counts = [plan[name] for plan in plans]
        assert counts == sorted(counts, reverse=True) and set(counts) <= set(grid[name])


def test_the_network_is_left_as_it_was() -> None:
    subject = toy_subject(NAMES, CHANNELS)
    before = {name: value.clone() for name, value in subject.network.state_dict().items()}
    GlobalThreshold(subject, FINE, 1).counts(STEPS)
    after = subject.network.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
