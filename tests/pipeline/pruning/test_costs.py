"""Costs computed from a plan are those of the network that the plan builds."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import models
from pipeline.pruning.channels import make_plan, rebuild
from pipeline.pruning.costs import parameter_count, trace_shape
from pipeline.pruning.groups import find_groups, prunable
from pipeline.records import Architecture
from tests.pipeline.pruning.conftest import CLASSES, FREE, SHAPE, dense, dense_groups


@pytest.mark.parametrize("name", models.names())
@settings(max_examples=3, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 10**6))
def test_params_and_macs_of_a_plan_are_those_of_its_network(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = dense_groups(name)
    shape = trace_shape(dense(name), groups, SHAPE)
    counts = {group.name: int(rng.integers(1, group.channels + 1)) for group in prunable(groups)}
    scores = {group.name: rng.random(group.channels) for group in groups}
    plan = make_plan(Architecture(name=name, num_classes=CLASSES, image_size=64), groups, counts, scores, {})
    slim = rebuild(dense(name), groups, plan)
    assert shape.params(counts) == parameter_count(slim)
    assert shape.macs(counts) == trace_shape(slim, find_groups(slim, SHAPE, FREE), SHAPE).macs({})


def test_published_sizes() -> None:
    """MobileNetV2 at 224 px: 300 million multiply-adds (Sandler et al. 2018, table 4)."""
    network = models.load("mobilenet_v2", num_classes=1000)
    shape = trace_shape(network, find_groups(network, (3, 224, 224), FREE), (3, 224, 224))
    assert shape.macs({}) == 300_774_272
    assert shape.params({}) == 3_504_872
