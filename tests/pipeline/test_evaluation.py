"""Accuracies, and what users' own evaluations may say."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pipeline.errors import ConfigError, TrainingError
from pipeline.evaluation import correct, evaluate, evaluation_from_logits, logits
from pipeline.intervals import wilson_interval
from tests.pipeline.toy import toy_data, toy_network

DATA = toy_data()


def test_figures_of_known_logits() -> None:
    outputs = torch.eye(8)[torch.tensor([0, 1, 2, 3])] * 5 + torch.arange(8) * 0.01
    evaluation = evaluation_from_logits(outputs, torch.tensor([0, 1, 7, 0]), "test")
    assert (evaluation.top1, evaluation.top5, evaluation.n_images, evaluation.split) == (0.5, 0.75, 4, "test")
    assert evaluation.loss == pytest.approx(
        nn.functional.cross_entropy(outputs, torch.tensor([0, 1, 7, 0])).item(), rel=1e-6
    )
    assert evaluation.ci95 == wilson_interval(0.5, 4)


@pytest.mark.parametrize(("classes", "has_top5"), [(5, False), (6, True)])
def test_top5_needs_more_than_five_classes(classes: int, has_top5: bool) -> None:
    evaluation = evaluation_from_logits(torch.rand(3, classes), torch.tensor([0, 1, 2]), "validation")
    assert (evaluation.top5 is not None) == has_top5


@pytest.mark.parametrize("training", [True, False])
def test_evaluation_mode_is_used_and_restored(training: bool) -> None:
    network = toy_network(dropout=0.9).train(training)
    network[1].eval()  # type: ignore[index]
    modes = [module.training for module in network.modules()]
    state = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    first, again = evaluate(network, DATA.test), evaluate(network, DATA.test, batch_size=7)
    assert first.top1 == again.top1 and first.loss == pytest.approx(again.loss, rel=1e-5)
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(state[key], tensor) for key, tensor in network.state_dict().items())


def test_limit_takes_the_first_images() -> None:
    outputs, labels = logits(toy_network(), DATA.test, limit=10)
    every, all_labels = logits(toy_network(), DATA.test)
    assert outputs.shape == (10, 3) and not outputs.requires_grad
    torch.testing.assert_close(outputs, every[:10])
    assert torch.equal(labels, all_labels[:10])
    assert evaluate(toy_network(), DATA.test, limit=10).n_images == 10


def test_a_failing_network_gets_its_modes_back() -> None:
    network = nn.Sequential(nn.Conv2d(4, 3, 1), nn.Dropout())
    with pytest.raises(RuntimeError):
        evaluate(network, DATA.test)
    assert all(module.training for module in network.modules())


def test_nan_outputs_are_an_error() -> None:
    outputs = torch.zeros(5, 3)
    outputs[1, 2], outputs[3, 0] = float("nan"), float("inf")
    with pytest.raises(TrainingError, match=r"validation split: .* NaN or infinite for 2 of 5 images"):
        evaluation_from_logits(outputs, torch.zeros(5, dtype=torch.long), "validation")


def test_an_infinite_loss_is_an_error() -> None:
    with pytest.raises(TrainingError, match=r"the loss is inf .* data\.loss"):
        evaluation_from_logits(
            torch.zeros(2, 3), torch.zeros(2, dtype=torch.long), "test", loss=lambda o, t: o.sum() + float("inf")
        )


def half_right(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return torch.full((len(labels),), 0.5)


def test_an_evaluation_of_the_users() -> None:
    evaluation = evaluate(toy_network(), DATA.test, evaluation=half_right)
    assert evaluation.top1 == 0.5
    assert correct(torch.zeros(4, 3), torch.zeros(4), half_right).tolist() == [0.5] * 4


@pytest.mark.parametrize(
    "given_values", [torch.tensor(0.5), torch.full((3,), 1.5), torch.full((3,), float("nan")), torch.zeros(2)]
)
def test_an_evaluation_that_breaks_its_contract(given_values: torch.Tensor) -> None:
    with pytest.raises(ConfigError, match=r"data\.evaluation: .* for 3 images; it must give one value in 0\.\.1"):
        correct(torch.zeros(3, 3), torch.zeros(3), lambda outputs, labels: given_values)
