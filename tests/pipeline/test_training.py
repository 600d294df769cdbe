"""Training learns, repeats itself, continues where it was stopped, and says why it failed."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pipeline.config import BaselineSection, FinetuneSection
from pipeline.data.splits import Split
from pipeline.errors import ConfigError, DataError, StorageError, TrainingError
from pipeline.evaluation import evaluate
from pipeline.training import EpochReport, distillation, fit, learning_rate, recalibrate_batchnorm
from tests.pipeline.toy import state_equal, toy_data, toy_network

DATA = toy_data()
SETTINGS = BaselineSection(epochs=4, batch_size=16, learning_rate=0.05)


class Killed(Exception):
    pass


def fitted(seed: int = 1, settings: BaselineSection | FinetuneSection = SETTINGS, **options: Any) -> nn.Module:
    network = toy_network()
    fit(network, DATA, settings, seed=seed, **options)
    return network


def test_fit_learns() -> None:
    network = toy_network()
    before = evaluate(network, DATA.test)
    reports = fit(network, DATA, SETTINGS, seed=0)
    after = evaluate(network, DATA.test)
    assert before.top1 < 0.6 and after.top1 > 0.9 and after.loss < before.loss / 2
    assert [report.epoch for report in reports] == [1, 2, 3, 4]
    assert reports[-1].loss < reports[0].loss and reports[-1].top1 > reports[0].top1
    assert reports[-1].learning_rate < SETTINGS.learning_rate / 10


def test_equal_seeds_give_equal_weights_and_leave_torch_alone() -> None:
    before = torch.random.get_rng_state()
    first = fitted(seed=1)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(7)
    assert state_equal(first, fitted(seed=1))
    assert not state_equal(first, fitted(seed=2))


def test_modes_and_memory_format_are_as_before() -> None:
    network = toy_network().eval()
    fit(network, DATA, SETTINGS.model_copy(update={"epochs": 1}), seed=0)
    assert not any(module.training for module in network.modules())
    assert all(parameter.is_contiguous() for parameter in network.parameters())


class NoTest:
    """A data set whose test and validation splits must not be touched."""

    train = DATA.train
    name = DATA.name
    preprocessing = DATA.preprocessing

    def __getattr__(self, name: str) -> Split:
        raise AssertionError(f"training asked for {name}")


def test_fit_sees_the_training_split_alone() -> None:
    network = toy_network()
    fit(network, NoTest(), SETTINGS, seed=1)  # type: ignore[arg-type]
    assert state_equal(network, fitted(seed=1))


@pytest.mark.parametrize("killed_after", [1, 2, 3, 4])
def test_a_killed_fit_continues_to_the_same_weights(tmp_path: Path, killed_after: int) -> None:
    checkpoint = tmp_path / "checkpoint.pt"

    def kill(report: EpochReport) -> None:
        if report.epoch == killed_after:
            raise Killed

    with pytest.raises(Killed):
        fitted(checkpoint=checkpoint, on_epoch=kill)
    epochs: list[int] = []
    network = toy_network()
    reports = fit(
        network, DATA, SETTINGS, seed=1, checkpoint=checkpoint, on_epoch=lambda report: epochs.append(report.epoch)
    )
    assert epochs == list(range(killed_after + 1, 5))
    assert [report.epoch for report in reports] == [1, 2, 3, 4]
    assert state_equal(network, fitted())
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_a_checkpoint_of_another_training_is_not_continued(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    checkpoint = tmp_path / "checkpoint.pt"
    fitted(seed=2, checkpoint=checkpoint)
    network = fitted(seed=1, checkpoint=checkpoint)
    assert state_equal(network, fitted(seed=1))
    assert "belongs to another training" in caplog.text and str(checkpoint) in caplog.text


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text"])
def test_a_damaged_checkpoint_starts_over_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    checkpoint = tmp_path / "checkpoint.pt"
    fitted(checkpoint=checkpoint)
    content = checkpoint.read_bytes()
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    checkpoint.write_bytes({"cut": content[:middle], "flipped": flipped, "empty": b"", "text": b"hello"}[damage])
    epochs: list[int] = []
    with caplog.at_level(logging.WARNING):
        network = fitted(checkpoint=checkpoint, on_epoch=lambda report: epochs.append(report.epoch))
    assert epochs == [1, 2, 3, 4]
    assert state_equal(network, fitted())
    assert "is damaged" in caplog.text
    fitted(checkpoint=checkpoint, on_epoch=lambda report: epochs.append(report.epoch))
    assert epochs == [1, 2, 3, 4], "the file that replaced the damaged one holds the whole training"


def test_a_folder_that_cannot_be_written_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"gone/checkpoint\.pt: .*cannot be written \(No such file or directory\)"):
        fitted(checkpoint=tmp_path / "gone" / "checkpoint.pt")


def test_a_full_disk_is_one_message_and_leaves_no_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left on device"):
        fitted(checkpoint=tmp_path / "checkpoint.pt")
    assert list(tmp_path.iterdir()) == []


def test_nan_names_epoch_step_rate_and_remedy() -> None:
    network = toy_network()
    nn.init.constant_(network[0].weight, float("nan"))  # type: ignore[index, arg-type]
    with pytest.raises(TrainingError) as caught:
        fit(network, DATA, SETTINGS, seed=0)
    for part in ("loss is nan", "epoch 1, step 1,", "learning rate 0.0", "lower baseline.learning_rate (now 0.05"):
        assert part in str(caught.value)


def test_a_diverging_finetune_names_its_own_key() -> None:
    wild = FinetuneSection(epochs=3, batch_size=16, learning_rate=1e12)
    with pytest.raises(TrainingError, match=r"finetune\.learning_rate \(now 1e\+12, try 1e\+11\)"):
        fitted(settings=wild)


def test_distillation_changes_the_weights_and_teaches() -> None:
    teacher = fitted()
    modes = [module.training for module in teacher.modules()]
    before = {key: tensor.clone() for key, tensor in teacher.state_dict().items()}
    labels_alone = FinetuneSection(epochs=4, batch_size=16, learning_rate=0.05)
    taught_alone = labels_alone.model_copy(update={"distill": 1.0})
    student = fitted(settings=taught_alone, teacher=teacher)
    assert not state_equal(student, fitted(settings=labels_alone, teacher=teacher))
    assert evaluate(student, DATA.test).top1 > 0.9
    assert [module.training for module in teacher.modules()] == modes
    assert all(torch.equal(before[key], tensor) for key, tensor in teacher.state_dict().items())


def test_distillation_is_zero_for_equal_logits_and_matches_soft_cross_entropy() -> None:
    student, taught = torch.randn(5, 4, requires_grad=True), torch.randn(5, 4)
    assert distillation(taught, taught, 4.0).item() == pytest.approx(0, abs=1e-6)
    # Hinton et al. minimise cross-entropy with soft targets: the same gradient as KL, times T^2.
    soft = nn.functional.cross_entropy(student / 4.0, (taught / 4.0).softmax(dim=1)) * 16.0
    (expected,) = torch.autograd.grad(soft, student)
    (actual,) = torch.autograd.grad(distillation(student, taught, 4.0), student)
    torch.testing.assert_close(actual, expected)


def test_a_loss_of_the_users() -> None:
    def margin(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return nn.functional.multi_margin_loss(logits, labels)

    network = fitted(loss=margin)
    assert evaluate(network, DATA.test, loss=margin).top1 > 0.9
    assert not state_equal(network, fitted())


@pytest.mark.parametrize(
    ("settings", "options", "error", "words"),
    [
        (BaselineSection(batch_size=1), {}, ConfigError, "baseline.batch_size: 1"),
        (FinetuneSection(distill=0.5), {}, ConfigError, "finetune.distill: 0.5"),
        (BaselineSection(label_smoothing=0.1), {"loss": lambda a, b: a.sum()}, ConfigError, "label_smoothing"),
        (SETTINGS, {"loss": lambda a, b: a}, ConfigError, "data.loss: gave (16, 3)"),
        (SETTINGS, {"loss": lambda a, b: 0.5}, ConfigError, "data.loss: gave float"),
    ],
)
def test_settings_that_cannot_work(
    settings: BaselineSection, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error) as caught:
        fitted(settings=settings, **options)
    assert words in str(caught.value)


def test_one_training_image_is_an_error() -> None:
    with pytest.raises(DataError, match="has 1 image"):
        fit(toy_network(), toy_data(n_train=1), SETTINGS, seed=0)


def test_a_lone_last_image_does_not_stop_training() -> None:
    reports = fit(toy_network(), toy_data(n_train=33), SETTINGS, seed=0)
    assert len(reports) == 4


@given(st.floats(0, 1), st.floats(1e-6, 10))
def test_learning_rate_stays_between_zero_and_its_peak(progress: float, peak: float) -> None:
    assert 0 <= learning_rate(progress, peak) <= peak


def test_learning_rate_rises_then_falls_to_zero() -> None:
    rates = [learning_rate(i / 100, 1.0) for i in range(101)]
    assert rates[0] == 0 and rates[10] == 1.0 and rates[100] == pytest.approx(0)
    assert rates[:11] == sorted(rates[:11]) and rates[10:] == sorted(rates[10:], reverse=True)


def normalised_batches(batch_size: int) -> list[torch.Tensor]:
    return [images for images, _ in DATA.train.batches(batch_size)]


def test_recalibration_gives_the_average_of_the_batches() -> None:
    network = fitted(settings=SETTINGS.model_copy(update={"epochs": 1})).eval()
    weights = {key: tensor.clone() for key, tensor in network.named_parameters()}
    batches = normalised_batches(30)
    recalibrate_batchnorm(network, iter(batches))
    first = network[1]  # type: ignore[index]
    assert isinstance(first, nn.BatchNorm2d)
    with torch.no_grad():
        outputs = [network[0](images) for images in batches]  # type: ignore[index]
    means = torch.stack([output.mean(dim=(0, 2, 3)) for output in outputs])
    variances = torch.stack([output.transpose(0, 1).flatten(1).var(dim=1) for output in outputs])
    torch.testing.assert_close(first.running_mean, means.mean(dim=0))
    torch.testing.assert_close(first.running_var, variances.mean(dim=0))
    assert first.momentum == 0.1 and not any(module.training for module in network.modules())
    assert all(torch.equal(weights[key], tensor) for key, tensor in network.named_parameters())


def test_recalibration_repairs_ruined_statistics() -> None:
    network = fitted()
    norm = network[1]  # type: ignore[index]
    assert isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None
    norm.running_mean += 10
    assert evaluate(network, DATA.test).top1 < 0.6
    recalibrate_batchnorm(network, normalised_batches(30))
    assert evaluate(network, DATA.test).top1 > 0.9


def test_recalibration_without_batch_norm_or_batches() -> None:
    recalibrate_batchnorm(nn.Linear(2, 2), [])
    with pytest.raises(ValueError, match="at least one"):
        recalibrate_batchnorm(toy_network(), [])
