"""The part of the configuration that says what is searched, what for, and how a plan is judged and measured."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, model_validator

from device_bench.records import BenchSpec, DeviceKind
from pipeline.records import CostName
from pipeline.section import OpenShare, Positive, PositiveInt, Section

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
    options: dict[str, Any] = Field(default_factory=dict)

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
