"""The whole configuration as frozen pydantic models, read from YAML once and saved with the run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, field_validator, model_validator

from pipeline.errors import ConfigError
from pipeline.search_section import SearchSection, TimingSection
from pipeline.section import Distinct, OpenShare, Positive, PositiveInt, Section, validate_section


class ModelSection(Section):
    name: str = "mobilenet_v2"
    """A registry name (`pocketprune list models`), `module:callable` or `path/to/file.py:callable`."""
    options: dict[str, Any] = Field(default_factory=dict)
    weights: str | None = None
    """`imagenet`, a file (.safetensors, or a torch file of tensors), or null: train here."""


class DataSection(Section):
    name: str = "digits"
    image_size: PositiveInt = 64
    root: str | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    loss: str | None = None
    """`module:callable(logits, labels) -> scalar tensor`; null is cross-entropy."""
    evaluation: str | None = None
    """`module:callable(logits, labels) -> accuracy per image in 0..1 (tensor of N)`; null is top-1."""


class BaselineSection(Section):
    epochs: PositiveInt = 12
    batch_size: PositiveInt = 32
    learning_rate: Positive = 0.05
    weight_decay: Annotated[float, Field(ge=0.0)] = 1e-4
    augment: bool = True
    label_smoothing: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0


MOST_SIGMA_STEPS = 500


class PruningSection(Section):
    kind: Literal["channels", "weights"] = "channels"
    importance: Literal["l1", "l2", "taylor", "fisher", "bn_scale", "random"] = "fisher"
    round_to: PositiveInt = 8
    min_keep: OpenShare = 0.1
    """Smallest share of its channels that a group keeps (rounded up to `round_to`)."""
    first_layer: bool = True
    """Whether the group of the first convolution may be pruned."""
    last_layer: bool = True
    """Whether the features that feed the classifier may be pruned; its outputs never are."""
    skip: tuple[str, ...] = ()
    """Groups or layers to leave whole, by name or shell pattern (`features.1.*`)."""
    threshold: Literal["sigma", "share"] = "sigma"
    """With kind `weights`: an action is a multiple of the layer's standard deviation, or a share of its weights."""
    max_sigma: Positive = 2.2
    """With kind `weights`: the highest multiple; `share` reaches as far as it would in normally distributed weights."""
    sigma_step: Positive = 0.2
    """With kind `weights`: from one action to the next; `share` has as many actions."""

    @model_validator(mode="after")
    def _sigma_is_walked_in_whole_steps(self) -> Self:
        steps = self.max_sigma / self.sigma_step
        if not 0.5 < steps < MOST_SIGMA_STEPS + 0.5 or abs(steps - round(steps)) > 1e-6:
            raise ValueError(
                f"sigma_step {self.sigma_step:g} makes {steps:.4g} steps of max_sigma {self.max_sigma:g}, and must "
                f"make a whole number from 1 to {MOST_SIGMA_STEPS}; give a step that divides it, as 0.2 does 2.2"
            )
        return self


class BenchSection(TimingSection):
    """How the reported measurements are timed."""

    processes: PositiveInt = 5
    precision: OpenShare | None = 0.01
    power: bool = True


class FinetuneSection(Section):
    epochs: PositiveInt = 6
    batch_size: PositiveInt = 64
    learning_rate: Positive = 0.02
    weight_decay: Annotated[float, Field(ge=0.0)] = 1e-4
    augment: bool = True
    distill: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """Share of the loss that comes from the dense network's logits (0: labels alone)."""
    temperature: Positive = 4.0


class ExportSection(Section):
    """Precisions. A sparse one is written of a network whose weights are zero to a good part, and of no other."""

    tflite: Annotated[tuple[Literal["fp32", "fp16", "int8", "dynamic", "fp32-sparse"], ...], Distinct] = (
        "fp32",
        "fp16",
        "int8",
        "fp32-sparse",
    )
    coreml: Annotated[tuple[Literal["fp16", "int8", "palette6", "fp16-sparse"], ...], Distinct] = (
        "fp16",
        "fp16-sparse",
    )

    @model_validator(mode="after")
    def _fp32_is_there(self) -> Self:
        if "fp32" not in self.tflite:
            raise ValueError("tflite must contain fp32: the other precisions are made from it and compared with it")
        return self


ControlName = Literal["uniform", "random", "global_l1", "knapsack"]


class Config(Section):
    """One run. See docs/configuration.md for every key in prose."""

    name: str
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    torch_threads: PositiveInt | None = None
    """Threads of torch's own work; null is one for each core. One is fastest for small networks on small images."""
    model: ModelSection = ModelSection()
    data: DataSection = DataSection()
    baseline: BaselineSection = BaselineSection()
    pruning: PruningSection = PruningSection()
    search: SearchSection = SearchSection()
    device: str = "host"
    devices: Annotated[tuple[str, ...], Distinct] = ()
    """Several devices: the reward takes the worst shortfall over them."""
    bench: BenchSection = BenchSection()
    finetune: FinetuneSection = FinetuneSection()
    export: ExportSection = ExportSection()
    controls: Annotated[tuple[ControlName, ...], Distinct] = ("uniform",)

    @field_validator("name")
    @classmethod
    def _name_is_a_folder_name(cls, name: str) -> str:
        if not name or name in {".", ".."} or any(c in "/\\" or not c.isprintable() for c in name):
            raise ValueError("must be a plain folder name: no slash, no line break or control character, not empty")
        return name

    @model_validator(mode="after")
    def _what_is_pruned_has_its_target(self) -> Self:
        kind, cost = self.pruning.kind, self.search.target.cost
        if (kind == "weights") != (cost == "sparsity"):
            wanted = "sparsity" if kind == "weights" else "latency (or latency_ms, fps, macs)"
            raise ValueError(f"pruning.kind {kind!r} needs search.target.{wanted}, and the target is one of {cost}")
        if self.search.recover.each_step and (kind != "weights" or self.search.recover.kind != "retrain"):
            raise ValueError("search.recover.each_step goes with pruning.kind weights and recover.kind retrain alone")
        if kind == "weights" and self.controls not in ((), ("uniform",)):
            raise ValueError(f"controls {', '.join(self.controls)}: where weights are pruned the only one is uniform")
        made = [name for name in self.controls if name in ("global_l1", "knapsack")]
        if made and cost == "latency" and self.search.latency_source == "measured":
            raise ValueError(
                f"controls {', '.join(made)}: made from what many plans cost, and search.latency_source 'measured' "
                "would time each of them; set table or hybrid"
            )
        return self

    def device_specs(self) -> tuple[str, ...]:
        return self.devices or (self.device,)


def load_config(path: Path, overrides: tuple[str, ...] = ()) -> Config:
    """Read a YAML file, apply `a.b=value` overrides (values are YAML), and validate.

    Raises:
        ConfigError: the file cannot be read, is not YAML, or breaks a rule; the text names the key.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); give the path of a YAML file") from error
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: holds {type(values).__name__}, not a mapping of keys such as `name: demo`")
    for override in overrides:
        _apply_override(values, override)
    return validate_config(values, str(path))


def validate_config(values: dict[str, Any], source: str = "configuration") -> Config:
    """Validate a plain mapping; every broken rule is listed, each with its key."""
    return validate_section(Config, values, source)


def _apply_override(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise ConfigError(f"--set {override!r}: write KEY=VALUE, for example search.episodes=20")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override!r}: the value is not YAML") from error
    *parents, last = key.split(".")
    for parent in parents:
        child = values.setdefault(parent, {})
        if not isinstance(child, dict):
            raise ConfigError(f"--set {override!r}: {parent} is a value, not a section")
        values = child
    values[last] = value
