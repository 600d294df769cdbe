"""A configuration is valid, or its error names every broken key with the value, the rule and the remedy."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from pipeline.config import Config, load_config, validate_config
from pipeline.errors import ConfigError
from pipeline.search.actions import weight_amounts


def sections(model: type[BaseModel] = Config, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], type[BaseModel]]:
    """Every section of the configuration with its path; the whole is at ()."""
    found = {path: model}
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found |= sections(field.annotation, (*path, name))
    return found


SECTIONS = sections()


def nested(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    for key in reversed(path):
        value = {key: value}
    return {"name": "x", **value}


def write(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text)
    return path


def test_a_name_is_enough() -> None:
    config = validate_config({"name": "x"})
    assert (config.model.name, config.data.name, config.device_specs()) == ("mobilenet_v2", "digits", ("host",))


def test_the_resolved_configuration_reads_back_the_same(tmp_path: Path) -> None:
    config = validate_config({"name": "x", "search": {"target": {"fps": 30}}, "controls": [], "devices": ["host"]})
    assert load_config(write(tmp_path, yaml.safe_dump(config.model_dump(mode="json")))) == config


def test_nothing_can_be_changed_afterwards() -> None:
    config = validate_config({"name": "x"})
    with pytest.raises(ValidationError, match="frozen"):
        config.search.__setattr__("episodes", 3)


@given(path=st.sampled_from(sorted(SECTIONS)), key=st.from_regex(r"[a-z_]{1,12}", fullmatch=True))
def test_an_unknown_key_is_named_with_the_known_ones(path: tuple[str, ...], key: str) -> None:
    known = SECTIONS[path].model_fields
    if key in known:
        return
    with pytest.raises(ConfigError) as raised:
        validate_config(nested(path, {key: 1}))
    assert f"{'.'.join((*path, key))}: unknown key; known here: {', '.join(sorted(known))}" in str(raised.value)


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("name", "", "folder name"),
        ("name", "..", "folder name"),
        ("name", "a/b", "folder name"),
        ("name", "a\nb", "folder name"),
        ("name", "a\x1b[31mb", "control character"),
        ("seed", 2**32, "less than 4294967296"),
        ("baseline.learning_rate", float("inf"), "finite number"),
        ("search.action_span", float("inf"), "finite number"),
        ("search.target.fps", float("nan"), "finite number"),
        ("controls", ["uniform", "uniform"], "'uniform' is given 2 times; keep one"),
        ("devices", ["host", "fake://x", "host"], "'host' is given 2 times"),
        ("export.tflite", ["fp32", "fp32"], "'fp32' is given 2 times"),
        ("export.coreml", ["fp16", "fp16"], "'fp16' is given 2 times"),
        ("seed", -1, "greater than or equal to 0"),
        ("seed", "many", "valid integer"),
        ("model", "mobilenet_v2", "dictionary"),
        ("data.image_size", 0, "greater than or equal to 1"),
        ("baseline.epochs", 0, "greater than or equal to 1"),
        ("baseline.learning_rate", 0, "greater than 0"),
        ("baseline.label_smoothing", 1.0, "less than 1"),
        ("pruning.importance", "l3", "'l1', 'l2', 'taylor', 'fisher', 'bn_scale' or 'random'"),
        ("pruning.min_keep", 0, "greater than 0"),
        ("pruning.min_keep", 1, "less than 1"),
        ("pruning.max_sigma", 0, "greater than 0"),
        ("search.episodes", 2.5, "valid integer"),
        ("search.state", "all", "'simple', 'per_layer', 'amc' or 'explainable'"),
        ("search.latency_source", "guessed", "'measured', 'table' or 'hybrid'"),
        ("search.target.latency", 1.0, "less than 1"),
        ("search.target.latency", -0.5, "greater than 0"),
        ("search.target.fps", 0, "greater than 0"),
        ("search.target.accuracy_drop", 1, "less than 1"),
        ("search.reward_from", ["phone"], "'simulator'"),
        ("bench.accelerator", "tpu", "'cpu', 'gpu', 'npu' or 'ane'"),
        ("bench.threads", 0, "greater than or equal to 1"),
        ("finetune.distill", 1.1, "less than or equal to 1"),
        ("export", {"tflite": ["fp16"]}, "tflite must contain fp32"),
        ("export.coreml", ["fp8"], "'palette6'"),
        ("controls", ["best"], "'uniform', 'random', 'global_l1' or 'knapsack'"),
    ],
)
def test_a_broken_rule_gives_key_value_and_rule(key: str, value: Any, rule: str) -> None:
    with pytest.raises(ConfigError) as raised:
        validate_config(nested(tuple(key.split(".")), value))
    message = str(raised.value)
    assert key in message
    assert rule in message
    assert isinstance(value, dict | list) or repr(value) in message
    assert "Traceback" not in message and "pydantic" not in message


@pytest.mark.parametrize(
    ("step", "steps"), [(5, "0.44"), (0.3, "7.333"), (1e-9, "2.2e+09"), (1e-320, "inf"), (0.0043, "511.6")]
)
def test_a_step_that_does_not_divide_what_it_walks_is_refused(step: float, steps: str) -> None:
    rule = f"sigma_step {step:g} makes {steps} steps of max_sigma 2.2, and must make a whole number from 1 to 500; give"
    with pytest.raises(ConfigError, match=re.escape(rule)):
        validate_config(nested(("pruning",), {"sigma_step": step}))


@given(max_sigma=st.floats(1e-3, 1e3), steps=st.integers(1, 500))
def test_any_whole_number_of_steps_is_taken_and_so_many_are_offered(max_sigma: float, steps: int) -> None:
    pruning = {"max_sigma": max_sigma, "sigma_step": max_sigma / steps}
    amounts = weight_amounts(validate_config(nested(("pruning",), pruning)).pruning)
    assert len(amounts) == steps + 1 and (amounts[0], amounts[-1]) == pytest.approx((0.0, max_sigma))


@pytest.mark.parametrize(
    ("target", "source", "fits"),
    [({"latency": 0.5}, "hybrid", True), ({"latency": 0.5}, "measured", False), ({"macs": 0.5}, "measured", True)],
)
def test_plans_are_brought_to_a_target_that_can_be_asked_without_measuring(
    target: dict[str, float], source: str, fits: bool
) -> None:
    """MACs are counted, so that where latency would come from does not matter."""
    search = {"target": target, "latency_source": source, "agent": "dqn"}
    assert validate_config({"name": "x", "controls": [], "search": search}).search.fits_plans == fits


def test_two_speeds_are_one_too_many() -> None:
    with pytest.raises(
        ConfigError, match="latency and fps are given: keep one of latency, latency_ms, fps, macs, sparsity"
    ):
        validate_config(nested(("search", "target"), {"latency": 0.5, "fps": 30}))


@pytest.mark.parametrize("target", [{"fps": 30}, {"latency_ms": 4}, {"latency": 0.3}])
def test_one_speed_stays_the_only_one(target: dict[str, float]) -> None:
    chosen = validate_config(nested(("search", "target"), target)).search.target
    speeds = {"latency": chosen.latency, "latency_ms": chosen.latency_ms, "fps": chosen.fps}
    assert {key: value for key, value in speeds.items() if value is not None} == target


def test_a_target_of_accuracy_alone_gets_the_default_speed() -> None:
    assert validate_config(nested(("search", "target"), {"accuracy_drop": 0.02})).search.target.latency == 0.5


def test_every_broken_rule_is_listed() -> None:
    with pytest.raises(ConfigError) as raised:
        validate_config({"seed": -1, "serch": {}, "bench": {"threads": 0}})
    message = str(raised.value)
    assert all(key in message for key in ("name: Field required", "seed:", "serch: unknown key", "bench.threads:"))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name: [", "not YAML"),
        ("name: a\n\tseed: 1", "not YAML"),
        ("", "holds NoneType"),
        ("- a", "holds list"),
        ("just words", "holds str"),
        ("a: !!python/object/apply:os.getcwd []", "not YAML"),
    ],
)
def test_a_file_that_is_no_mapping_is_one_line(tmp_path: Path, text: str, complaint: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as raised:
        load_config(path)
    message = str(raised.value)
    assert message.startswith(f"{path}: ") and complaint in message and "\n" not in message


@pytest.mark.parametrize("place", ["absent.yaml", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, place: str) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / place)


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    path = tmp_path / "model.yaml"
    path.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ConfigError, match=r"model\.yaml: cannot be read"):
        load_config(path)


def test_overrides_win_over_the_file_in_their_order(tmp_path: Path) -> None:
    path = write(tmp_path, "name: x\nsearch: {episodes: 9}\n")
    config = load_config(path, ("search.episodes=3", "export.coreml=[]", "search.episodes=4", "model.weights=null"))
    assert config.search.episodes == 4
    assert config.export.coreml == ()
    assert config.model.weights is None


@given(episodes=st.integers(1, 10**6), seed=st.integers(0, 2**32 - 1), lr=st.floats(1e-6, 10.0))
def test_an_override_is_the_same_as_the_key(
    tmp_path_factory: pytest.TempPathFactory, episodes: int, seed: int, lr: float
) -> None:
    values = {"name": "x", "seed": seed, "search": {"episodes": episodes}, "baseline": {"learning_rate": lr}}
    path = write(tmp_path_factory.mktemp("override"), "name: x")
    overrides = (f"search.episodes={episodes}", f"seed={seed}", f"baseline.learning_rate={lr!r}")
    assert load_config(path, overrides) == validate_config(values)


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("episodes", "write KEY=VALUE"),
        ("=3", "write KEY=VALUE"),
        ("seed=[", "the value is not YAML"),
        ("name.first=3", "name is a value, not a section"),
        ("search.episode=3", "search.episode: unknown key; known here: "),
        ("search.episodes=", "search.episodes: Input should be a valid integer"),
    ],
)
def test_a_bad_override_is_explained(tmp_path: Path, override: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(write(tmp_path, "name: x"), (override,))
    assert complaint in str(raised.value)


@pytest.mark.parametrize("value", ["1e-3", "1e-4", "0.001"])
def test_a_float_that_yaml_takes_for_text_is_a_number(tmp_path: Path, value: str) -> None:
    config = load_config(write(tmp_path, f"name: x\nbaseline: {{weight_decay: {value}}}"))
    assert config.baseline.weight_decay == float(value)


def test_controls_that_ask_for_many_costs_do_not_go_with_a_measurement_each() -> None:
    search = {"latency_source": "measured"}
    with pytest.raises(ConfigError, match=r"controls knapsack: made from .* set table or hybrid"):
        validate_config({"name": "x", "controls": ["uniform", "knapsack"], "search": search})
    by_macs = validate_config({"name": "x", "controls": ["knapsack"], "search": search | {"target": {"macs": 0.5}}})
    assert by_macs.controls == ("knapsack",)
