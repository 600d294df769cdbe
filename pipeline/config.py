"""The whole configuration as frozen pydantic models, read from YAML once and saved with the run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from device_bench.records import BenchSpec, DeviceKind
from pipeline.errors import ConfigError
from pipeline.records import CostName

PositiveInt = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0.0)]
OpenShare = Annotated[float, Field(gt=0.0, lt=1.0)]


def _distinct[T](values: tuple[T, ...]) -> tuple[T, ...]:
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"{value!r} is given {values.count(value)} times; keep one")
    return values


Distinct = AfterValidator(_distinct)


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())


class ModelSection(Section):
    name: str = "mobilenet_v2"
    """A registry name (`pocketprune list models`), `module:callable` or `path/to/file.py:callable`."""
    options: dict[str, Any] = {}
    weights: str | None = None
    """`imagenet`, a file (.safetensors, or a torch file of tensors), or null: train here."""


class DataSection(Section):
    name: str = "digits"
    image_size: PositiveInt = 64
    root: str | None = None
    options: dict[str, Any] = {}
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


COSTS: tuple[CostName, ...] = ("latency", "macs", "sparsity")


class RewardSection(Section):
    name: Literal["latency", "macs", "sparsity", "equation_4", "equation_5", "amc", "amc_flops"] | None = None
    """The first three are equation 3 over that cost; null takes the one of the target."""
    dense: bool = True
    scale: Positive = 1.0
    energy: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """How much of the cost term is energy: 0 is latency alone, 1 energy alone."""


SPEEDS = ("latency", "latency_ms", "fps", "macs", "sparsity")


class TargetSection(Section):
    """How fast or small the network must get (one of the first five) and what accuracy that may cost."""

    latency: OpenShare | None = None
    latency_ms: Positive | None = None
    fps: Positive | None = None
    macs: OpenShare | None = None
    """Share of the dense network's multiply-accumulates that may be left."""
    sparsity: OpenShare | None = None
    """Share of the weights that must be zero: with pruning.kind `weights`."""
    energy: OpenShare | None = None
    """Share of the dense energy of one inference; None takes the share of the latency that the target allows."""
    accuracy_drop: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.01

    @model_validator(mode="before")
    @classmethod
    def _one_speed(cls, values: Any) -> Any:
        if isinstance(values, dict):
            given = [key for key in SPEEDS if values.get(key) is not None]
            if len(given) > 1:
                raise ValueError(f"{' and '.join(given)} are given: keep one of {', '.join(SPEEDS)}")
            if not given:
                values = {**values, "latency": 0.5}
        return values

    @property
    def cost(self) -> CostName:
        if self.macs is not None:
            return "macs"
        return "latency" if self.sparsity is None else "sparsity"


class RecoverSection(Section):
    kind: Literal["batchnorm", "retrain"] = "batchnorm"
    images: PositiveInt = 256
    epochs: PositiveInt = 1
    """Only for retrain: passes over `images` training images at the end of each episode."""
    each_step: bool = False
    """Only for retrain: after each step of an episode as well, the weights being handed on to the next step."""
    batch_size: PositiveInt = 32
    learning_rate: Positive = 0.02
    distill: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """Only for retrain: share of the loss that comes from the dense network's logits."""


class TimingSection(BenchSpec):
    def spec(self) -> BenchSpec:
        return BenchSpec(**self.model_dump(include=set(BenchSpec.model_fields)))


class BenchSection(TimingSection):
    """How the reported measurements are timed."""

    processes: PositiveInt = 5
    precision: OpenShare | None = 0.01
    power: bool = True


class SearchBenchSection(TimingSection):
    """The search's own spec: short, since it is asked once an episode."""

    warmup_runs: Annotated[int, Field(ge=0)] = 5
    timed_runs: PositiveInt = 20
    min_seconds: Annotated[float, Field(ge=0.0)] = 0.25
    processes: PositiveInt = 2
    precision: OpenShare | None = 0.03
    max_processes: PositiveInt = 8


class ProfileSection(Section):
    """The latency table: random variants that it is fitted on, others that its error is measured on, single layers."""

    fit_variants: PositiveInt = 120
    check_variants: PositiveInt = 20
    layers: bool | None = None
    """Whether single layers are timed as well; null does so where the device's runner can in a reasonable time."""


class SearchSection(Section):
    agent: str = "tradeoff"
    episodes: PositiveInt = 55
    state: Literal["simple", "per_layer", "amc", "explainable"] | None = None
    """What the agent sees; null is what suits the agent."""
    reward: RewardSection = RewardSection()
    target: TargetSection = TargetSection(latency=0.5)
    latency_source: Literal["measured", "table", "hybrid"] = "hybrid"
    recover: RecoverSection = RecoverSection()
    bench: SearchBenchSection = SearchBenchSection()
    profile: ProfileSection = ProfileSection()
    finalists: PositiveInt = 5
    """How many of the best plans are measured afresh, interleaved, and briefly fine-tuned before one wins."""
    finalist_epochs: PositiveInt = 2
    """Fine-tuning epochs (with the finetune section's settings) that the finalists are judged after."""
    actions: Literal["around_target", "absolute", "continuous", "bounded"] | None = None
    """Channel counts offered: some around those of the uniform plan that meets the target, some from few to all, any,
    or any with which the target stays within reach. Null is what suits the agent."""
    staircase: bool = True
    """Offer the right edges of the steps that the profile measured; else multiples of pruning.round_to."""
    n_actions: Annotated[int, Field(ge=2)] = 9
    action_span: Annotated[float, Field(gt=1.0)] = 1.6
    """`around_target` offers 1/span to span times the uniform plan's channels."""
    fit_to_target: bool = True
    """Bring every episode's plan to the target latency (by the table) before it is judged: the agent decides where to
    prune, the device how much. Not where latency is `measured` alone: it would cost a dozen measurements."""
    stop_below: Annotated[float, Field(ge=0.0, lt=1.0)] | None = None
    """Accuracy after a step below which an episode is given up; null is chance where weights are pruned (PuRL 4.3), and
    0 (never) where channels are."""
    rounds: tuple[OpenShare, ...] = ()
    """With kind `weights`: sparsities of the rounds before the last, each searched and fine-tuned before the next."""
    judge_images: PositiveInt = 256
    """Validation images that judge the masked network after each step; the end of an episode sees all of them."""
    reward_from: tuple[DeviceKind, ...] = ("device", "host")
    """Kinds of device that may pay a reward; name simulator, emulator, container or fake to allow it."""
    options: dict[str, Any] = {}

    @property
    def trusted_kinds(self) -> tuple[DeviceKind, ...]:
        """Kinds of device that may be measured: any where MACs or weights are counted, since none pays then."""
        return self.reward_from if self.target.cost == "latency" else get_args(DeviceKind)

    @property
    def fits_plans(self) -> bool:
        """Whether plans of channels are brought to the target: a plan's cost can be asked without measuring it."""
        return self.fit_to_target and (self.target.cost != "latency" or self.latency_source != "measured")

    @model_validator(mode="after")
    def _the_reward_is_of_the_target(self) -> Self:
        name, cost = self.reward.name, self.target.cost
        if name in COSTS and name != cost:
            raise ValueError(f"reward.name {name!r} does not go with a target of {cost}: leave reward.name out")
        if self.reward.energy and (cost != "latency" or name not in (None, "latency")):
            raise ValueError("reward.energy goes with a target of latency and reward.name latency alone: set it to 0")
        if list(self.rounds) != sorted(set(self.rounds)) or (self.rounds and cost != "sparsity"):
            raise ValueError(f"rounds {list(self.rounds)} must be rising sparsities, for a target of sparsity")
        if self.rounds and self.target.sparsity is not None and self.rounds[-1] >= self.target.sparsity:
            raise ValueError(f"rounds end with {self.rounds[-1]:g}, not below target.sparsity {self.target.sparsity:g}")
        return self

    @model_validator(mode="after")
    def _a_target_of_energy_counts(self) -> Self:
        if self.target.energy is not None and not self.reward.energy:
            raise ValueError(
                f"target.energy {self.target.energy:g} is given, and reward.energy is 0, so that energy does not "
                "count: give reward.energy (0.5 is half of the cost, 1 all of it), or leave target.energy out"
            )
        return self


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


def validate_section[S: Section](section: type[S], values: dict[str, Any], source: str) -> S:
    """Validate a plain mapping as one section, such as an agent's own options.

    Raises:
        ConfigError: every broken rule, each with its key; `source` stands before them.
    """
    try:
        return section.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{source}: {_explain(error, section)}") from error


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


def _explain(error: ValidationError, section: type[Section]) -> str:
    lines = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"]) or "(whole file)"
        if problem["type"] == "extra_forbidden":
            lines.append(
                f"{key}: unknown key; known here: {', '.join(_known_keys(section, problem['loc'][:-1])) or 'none'}"
            )
        else:
            given = problem["input"]
            shown = "" if isinstance(given, dict) else f" (got {given!r})"
            lines.append(f"{key}: {problem['msg'].removeprefix('Value error, ')}{shown}")
    return "\n  ".join(lines) if len(lines) == 1 else "\n  " + "\n  ".join(lines)


def _known_keys(section: Any, location: tuple[int | str, ...]) -> list[str]:
    for part in location:
        field = section.model_fields.get(part) if hasattr(section, "model_fields") else None
        section = field.annotation if field else None
    return sorted(section.model_fields) if hasattr(section, "model_fields") else []
