"""The plan has the published size to the parameter, and the method removes what it says, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

import models
from pipeline.config import Config, PruningSection, load_config
from pipeline.pruning.channels import make_plan, rebuild
from pipeline.pruning.costs import parameter_count, trace_shape
from pipeline.pruning.groups import find_groups
from pipeline.records import Architecture
from pipeline.reproduce.l1_filters import filter_norms, without_weakest_filters
from pipeline.reproduce.runner import Request, run_table
from pipeline.reproduce.scale import Scale
from pipeline.reproduce.tables import l1_mobilenet
from pipeline.reproduce.tables.l1_mobilenet import (
    AT_END,
    FULL_SIZE,
    GROUPS,
    PRUNED,
    REMOVED,
    RETRAINED,
    STEP,
    STEPWISE,
    WIDTHS,
    keep_counts,
)
from pipeline.subject import Subject, save_weights

BEFORE, AFTER = 4_231_976, 3_583_656
SHAPE = (3, 32, 32)


def size(widths: list[float]) -> float:
    """Parameters of a MobileNetV1 for 1,000 classes: of 3x3, depthwise and 1x1 convolutions, batch norm, classifier."""
    blocks = sum(11 * first + first * second + 2 * second for first, second in pairwise(widths))
    return 29 * widths[0] + blocks + 1000 * widths[-1] + 1000


def test_the_plan_leaves_exactly_the_published_number_of_parameters() -> None:
    network = models.load("mobilenet_v1", num_classes=1000, seed=0).eval()
    groups = find_groups(network, SHAPE, PruningSection(round_to=STEP))
    assert tuple(group.name for group in groups if group.fixed is None) == GROUPS
    keep = keep_counts({group.name: group.channels for group in groups})
    shape = trace_shape(network, groups, SHAPE)
    assert (shape.params({}), shape.params(keep)) == (BEFORE, AFTER)
    scores = {name: filter_norms(network.get_submodule(name)) for name in GROUPS}
    architecture = Architecture(name="mobilenet_v1", num_classes=1000, image_size=32)
    slim = rebuild(network, groups, make_plan(architecture, groups, keep, scores, {}))
    assert parameter_count(slim) == AFTER and round(100 * AFTER / BEFORE, 2) == 84.68
    assert slim(torch.zeros(1, *SHAPE)).shape == (1, 1000)


def test_the_plan_removes_multiples_of_4_and_is_the_nearest_to_uniform_that_has_this_size() -> None:
    assert all(removed % STEP == 0 for removed in REMOVED)
    low, high = 0.0, 0.5
    for _ in range(60):  # the share that every layer loses in uniform pruning of this size
        share = (low + high) / 2
        low, high = (share, high) if size([width * (1 - share) for width in WIDTHS]) > AFTER else (low, share)
    bound = squares(REMOVED, share) + 1e-12
    plans = {
        (0, 0): (0.0, ())
    }  # (removed of the layer before, saved so far) -> (squares so far, removed of each layer)
    for index, width in enumerate(WIDTHS):
        before = WIDTHS[index - 1] if index else 0
        found: dict[tuple[int, int], tuple[float, tuple[int, ...]]] = {}
        nearest = sum(min(squares((r,), share, (w,)) for r in range(0, w, STEP)) for w in WIDTHS[index + 1 :])
        for (last, saved), (distance, path) in plans.items():
            for removed in range(0, width, STEP):
                option = (distance + (removed / width - share) ** 2, (*path, removed))
                inputs = 11 * last + before * width - (before - last) * (width - removed) if index else 27 * removed
                key = (removed, saved + inputs + 2 * removed)
                if option[0] + nearest <= bound and option < found.get(key, (bound + 1, ())):
                    found[key] = option
        plans = found
    exact = [path for (removed, saved), (_, path) in plans.items() if saved + 1000 * removed == BEFORE - AFTER]
    assert exact == [REMOVED]


def squares(removed: Sequence[int], share: float, widths: Sequence[int] = WIDTHS) -> float:
    return sum((count / width - share) ** 2 for count, width in zip(removed, widths, strict=True))


def test_the_shipped_example_keeps_what_the_plan_keeps() -> None:
    options = load_config(Path(__file__).parents[3] / "examples" / "l1_mobilenet.yaml").search.options
    assert options["keep"] == keep_counts(dict(zip(GROUPS, WIDTHS, strict=True)))


def test_other_widths_take_the_same_shares_in_multiples_of_4() -> None:
    channels = {name: width // 4 for name, width in zip(GROUPS, WIDTHS, strict=True)}
    for (name, kept), width, removed in zip(keep_counts(channels).items(), WIDTHS, REMOVED, strict=True):
        assert (channels[name] - kept) % STEP == 0 and kept >= STEP
        assert abs((channels[name] - kept) - channels[name] * removed / width) <= STEP / 2


def test_the_filters_of_smallest_norm_go_and_the_next_layer_loses_their_inputs(tmp_path: Path) -> None:
    settings = l1_mobilenet.TABLE.scales[Scale.smoke]
    subject = _untrained(settings.network.config(0), tmp_path)
    first, depthwise, second = "features.0.0", "features.1.0", "features.2.0"
    slim = without_weakest_filters(subject, subject.network, first, 4)
    stays = np.sort(np.argsort(filter_norms(subject.network.get_submodule(first)))[-4:])
    for name, expected in ((first, stays), (depthwise, stays)):
        assert torch.equal(slim.get_submodule(name).weight, subject.network.get_submodule(name).weight[expected])
    assert torch.equal(slim.get_submodule(second).weight, subject.network.get_submodule(second).weight[:, stays])


def _untrained(config: Config, folder: Path) -> Subject:
    network = models.load(config.model.name, num_classes=10, options=config.model.options, seed=0)
    save_weights(network, folder / "model.safetensors")
    return Subject(config, folder / "model.safetensors")


@pytest.mark.slow
def test_smoke_scale_runs_and_is_rendered(tmp_path: Path) -> None:
    request = Request("l1-mobilenet", Scale.smoke, seeds=1, out=tmp_path / "out", work=tmp_path / "work")
    summary, failures = run_table(request)
    assert not failures and len(summary.finished) == 2
    figures = {row.label: row.figures for row in summary.rows}
    full = figures[FULL_SIZE]
    assert full["params"] and full["params"].mean == AFTER and full["saved"] and full["saved"].mean == BEFORE - AFTER
    sizes = {label: figures[label]["params"] for label in (PRUNED, RETRAINED[AT_END], RETRAINED[STEPWISE])}
    assert len(set(sizes.values())) == 1, "one plan, three times"
    retrained = figures[RETRAINED[STEPWISE]]["top1"]
    assert retrained and retrained.mean > 0.5, "chance is 0.1"
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == [
        "l1-mobilenet-smoke-layers.png",
        "l1-mobilenet-smoke-norms.png",
    ]
    assert "| 3,583,656 | 648,320 | 84.68 |" in (tmp_path / "out" / "l1-mobilenet-smoke.md").read_text()
