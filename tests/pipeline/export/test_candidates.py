"""Files that are cut out of the dense one are those that the whole export gives."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

import models
from pipeline.export import TfliteConverter, slim_rules
from pipeline.export.candidates import CandidateExporter
from pipeline.export.slim import TfliteSlimmer, difference
from pipeline.export.slim_rules import DenseGraph, NotSlimmableError, Operation, Walk, lengths
from pipeline.pruning.channels import make_plan, rebuild, verified
from pipeline.pruning.groups import ChannelGroup, find_groups, prunable
from pipeline.records import Architecture
from tests.pipeline.export.conftest import SmallNetwork
from tests.pipeline.export.test_variant import run_litert
from tests.pipeline.pruning.conftest import FREE, dense
from tests.pipeline.pruning.test_channels import Concatenating
from tests.pipeline.tiny_run import TinyNet

SIDE = 32
SHAPE = (3, SIDE, SIDE)


class SmallConcatenating(Concatenating):
    """Two branches side by side, a norm that cannot be folded, and a flattened map before the linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6 * (SIDE // 4) ** 2, 5)


class Assorted(nn.Module):
    """Operations that the shipped networks have not: other activations and pools, a norm that stays, a product."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(12)
        self.stem = nn.Conv2d(3, 12, 3, 2, 1)
        self.bend = nn.Conv2d(12, 16, 3, dilation=2, padding=2)
        self.side = nn.Conv2d(12, 16, 1)
        self.hidden = nn.Linear(16 * 16, 24)
        self.last = nn.Linear(24, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.hardswish(self.norm(functional.max_pool2d(self.stem(x), 2).sigmoid()))
        x = functional.leaky_relu(self.bend(x), 0.1) * torch.tanh(self.side(x)) - functional.elu(self.side(x))
        x = functional.avg_pool2d(x, 2)
        result: torch.Tensor = self.last(functional.relu(self.hidden(x.flatten(1))))
        return result


SMALL: dict[str, Callable[[], nn.Module]] = {
    "a residual sum": functools.partial(TinyNet, 10),
    "a depthwise layer, a sum and a pool": SmallNetwork,
    "concatenation and flattening": SmallConcatenating,
    "assorted operations": Assorted,
}


class CountingConverter(TfliteConverter):
    conversions = 0

    def submit(self, network: nn.Module, input_shape: tuple[int, int, int], path: Path) -> Future[Path]:
        self.conversions += 1
        return super().submit(network, input_shape, path)


@pytest.fixture(scope="module")
def converter() -> Iterator[CountingConverter]:
    with CountingConverter(workers=2) as running:
        yield running


@dataclass(frozen=True)
class Bench:
    """A network, and what turns plans of it into files."""

    network: nn.Module
    converter: CountingConverter

    @functools.cached_property
    def groups(self) -> tuple[ChannelGroup, ...]:
        return prunable(verified(self.network, find_groups(self.network, SHAPE, FREE), SHAPE))

    @functools.cached_property
    def scores(self) -> dict[str, NDArray[np.float64]]:
        """Any channels: the strongest ones would hide an index that is off by one."""
        rng = np.random.default_rng(5)
        return {group.name: rng.random(group.channels) for group in self.groups}

    @functools.cached_property
    def exporter(self) -> CandidateExporter:
        return CandidateExporter(self.converter, self.network, self.groups, self.scores, SHAPE)

    def in_full(self, keep_counts: dict[str, int], path: Path) -> Path:
        plan = make_plan(
            Architecture(name="x", num_classes=1, image_size=SIDE), self.groups, keep_counts, self.scores, {}
        )
        return self.converter.convert(rebuild(self.network, self.groups, plan), SHAPE, path)

    def random_counts(self, seed: int) -> dict[str, int]:
        rng = np.random.default_rng(seed)
        return {
            g.name: int(rng.integers(min(2, g.channels), g.channels + 1)) for g in self.groups if rng.random() < 0.8
        }


def small(name: str) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = SMALL[name]().eval()
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                nn.init.normal_(layer.bias, std=0.3)
                nn.init.uniform_(layer.weight, 0.5, 1.5)
    return network


@pytest.fixture(scope="module")
def bench(converter: CountingConverter) -> Callable[[str], Bench]:
    return functools.cache(lambda name: Bench(small(name) if name in SMALL else dense(name), converter))


def logits(path: Path) -> NDArray[np.float32]:
    image = np.random.default_rng(3).standard_normal((1, SIDE, SIDE, 3)).astype(np.float32)
    return run_litert(path, image)


def check_cut_is_exported(bench: Bench, seed: int) -> None:
    counts = bench.random_counts(seed)
    assert bench.exporter.in_full_because is None
    with tempfile.TemporaryDirectory() as name:
        before = bench.converter.conversions
        cut = bench.exporter.export(counts, Path(name, "cut.tflite"))
        assert bench.converter.conversions == before
        exported = bench.in_full(counts, Path(name, "exported.tflite"))
        assert difference(cut.read_bytes(), exported.read_bytes()) is None
        expected = logits(exported)
        assert np.abs(logits(cut) - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("name", SMALL)
@settings(max_examples=6, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 10**6))
def test_a_cut_of_a_small_network_is_what_its_export_gives(name: str, bench: Callable[[str], Bench], seed: int) -> None:
    check_cut_is_exported(bench(name), seed)


@pytest.mark.parametrize("name", models.names())
@settings(max_examples=1, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 10**6))
def test_a_cut_of_a_shipped_network_is_what_its_export_gives(
    name: str, bench: Callable[[str], Bench], seed: int
) -> None:
    check_cut_is_exported(bench(name), seed)


def test_nothing_to_cut_gives_the_dense_file(bench: Callable[[str], Bench], tmp_path: Path) -> None:
    residual = bench("a residual sum")
    whole = residual.exporter.export({}, tmp_path / "whole.tflite")
    assert whole.read_bytes() == residual.in_full({}, tmp_path / "dense.tflite").read_bytes()
    assert difference(TfliteSlimmer(whole.read_bytes()).slim({}), whole.read_bytes()) is None


class Growing(nn.Module):
    """Holds an operation that no rule follows."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.head(functional.interpolate(self.stem(x), scale_factor=2).mean((2, 3)))
        return result


def test_where_no_rule_follows_candidates_are_exported_in_full_and_the_log_says_so(
    converter: CountingConverter, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    growing = Bench(Growing().eval(), converter)
    file = growing.exporter.export({"stem": 3}, tmp_path / "candidate.tflite")
    assert growing.exporter.in_full_because == "RESIZE_NEAREST_NEIGHBOR has no rule"
    assert "exported in full, a second each: RESIZE_NEAREST_NEIGHBOR has no rule" in caplog.text
    assert difference(file.read_bytes(), growing.in_full({"stem": 3}, tmp_path / "true.tflite").read_bytes()) is None


def test_one_plan_that_cannot_be_cut_is_exported_in_full(
    bench: Callable[[str], Bench], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    depthwise = bench("a depthwise layer, a sum and a pool")
    counts = {"block.0.0": 1}
    file = depthwise.exporter.export(counts, tmp_path / "candidate.tflite")
    assert "candidate.tflite is exported in full: DEPTHWISE_CONV_2D block.1.0: with one channel" in caplog.text
    assert file.read_bytes() == depthwise.in_full(counts, tmp_path / "true.tflite").read_bytes()
    assert depthwise.exporter.in_full_because is None


def test_a_rule_that_is_wrong_is_found_before_the_first_candidate(
    converter: CountingConverter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reads_the_first_channels(walk: Walk, operation: Operation) -> None:
        right(walk, operation)
        kept = walk.kept[operation.outputs[0]]
        walk.kept[operation.outputs[0]] = (*kept[:-1], np.arange(len(kept[-1])) if kept[-1] is not None else None)

    right = slim_rules.RULES["LOGISTIC"]
    monkeypatch.setitem(slim_rules.RULES, "LOGISTIC", reads_the_first_channels)
    wrong = Bench(small("concatenation and flattening"), converter)
    file = wrong.exporter.export({"left": 3}, tmp_path / "candidate.tflite")
    assert wrong.exporter.in_full_because == "a trial gave other logits than its export"
    assert file.read_bytes() == wrong.in_full({"left": 3}, tmp_path / "true.tflite").read_bytes()


def test_files_of_other_plans_are_told_apart(bench: Callable[[str], Bench], tmp_path: Path) -> None:
    concat = bench("concatenation and flattening")
    one, other = (concat.exporter.export({"left": n}, tmp_path / f"{n}.tflite").read_bytes() for n in (3, 4))
    found = difference(one, other)
    assert found is not None and found.startswith("operation 1 is CONV_2D left [") and "(3,)" in found
    more = bench("assorted operations").exporter.export({}, tmp_path / "x.tflite").read_bytes()
    assert difference(more, other) == "22 operations, not 11"


@given(data=st.data())
def test_what_a_reshape_leaves_is_what_it_reads(data: st.DataObject) -> None:
    shape = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple))
    splits = sorted(data.draw(st.sets(st.integers(1, max(1, len(shape) - 1)))) - {len(shape)})
    new = tuple(int(np.prod(shape[a:b])) for a, b in pairwise([0, *splits, len(shape)]))
    if data.draw(st.booleans()):
        shape, new = new, shape
    axis = data.draw(st.integers(0, len(shape) - 1))
    part = np.array(sorted(data.draw(st.sets(st.integers(0, shape[axis] - 1), min_size=1))))
    values = np.arange(np.prod(shape)).reshape(shape)
    operation = Operation("RESHAPE", "", (0, 1), (2,), None)
    walk = Walk(DenseGraph([operation], [shape, (len(new),), new], {1: np.array(new)}, (), ()), {})
    walk.kept[0] = tuple(part if number == axis else None for number in range(len(shape)))
    try:
        kept = walk.go()[2]
    except NotSlimmableError:
        return
    expected = values.take(part, axis).reshape(lengths(kept, new))
    picked = values.reshape(new)[np.ix_(*(np.arange(n) if k is None else k for k, n in zip(kept, new, strict=True)))]
    assert np.array_equal(picked, expected)
