"""The values that flow from stage to stage; each is stored as JSON exactly as it is named here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from device_bench.records import Measurement

SplitName = Literal["train", "validation", "test"]
LatencySourceName = Literal["measured", "table"]
CostName = Literal["latency", "macs", "sparsity"]
"""What a search saves: time on the device, multiply-accumulates, or weights."""
EnergySourceName = Literal["measured", "model"]
EpisodeKind = Literal["explore", "greedy", "average", "reference"]
ParityMethod = Literal["litert", "torch-mil", "coreml", "device"]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Record(BaseModel):
    """A frozen value; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Evaluation(Record):
    """How well a network classifies one split. `ci95` is Wilson's interval of `top1`; accuracies are shares of 1."""

    split: SplitName
    top1: Share
    top5: Share | None
    """None where there are five classes or fewer."""
    loss: float
    """Mean cross-entropy in nats (or the user's own loss)."""
    n_images: int
    ci95: tuple[float, float]


class Architecture(Record):
    """What rebuilds the dense network: a registry name or `module:callable`, and what it is called with."""

    name: str
    options: dict[str, Any] = {}
    num_classes: int
    image_size: int
    channels: int = 3


class GroupPlan(Record):
    """Which channels of one coupled group stay: sorted indices into the dense network's `channels`."""

    channels: int
    kept: tuple[int, ...]

    @model_validator(mode="after")
    def _kept_is_a_sorted_subset(self) -> Self:
        if not self.kept:
            raise ValueError("a group must keep at least one channel")
        if list(self.kept) != sorted(set(self.kept)) or self.kept[0] < 0 or self.kept[-1] >= self.channels:
            raise ValueError(f"kept must be sorted, unique and within 0..{self.channels - 1}")
        return self


class WeightPlan(Record):
    """How many weights of one layer stay: those of the largest magnitude; the others are zero."""

    size: int
    """Weights of the dense layer; biases are never pruned."""
    kept: int

    @model_validator(mode="after")
    def _something_stays(self) -> Self:
        if not 1 <= self.kept <= self.size:
            raise ValueError(
                f"kept is {self.kept}, must be within 1..{self.size}: "
                "a layer without weights would cut the network in two; keep at least one"
            )
        return self


class PruningPlan(Record):
    """What is removed from which network: with `model.safetensors` it rebuilds the slimmed network."""

    architecture: Architecture
    groups: dict[str, GroupPlan]
    """Keyed by the name of the first layer that the group touches; a group left out is kept whole."""
    weights: dict[str, WeightPlan] = {}
    """Keyed by layer; a layer left out is kept whole."""
    provenance: dict[str, Any] = {}

    @model_validator(mode="after")
    def _channels_or_weights(self) -> Self:
        if self.groups and self.weights:
            raise ValueError("groups and weights are both given: a plan removes channels or zeroes weights; keep one")
        return self

    def keep_counts(self) -> dict[str, int]:
        """Channels kept per group, or weights kept per layer."""
        channels = {name: len(group.kept) for name, group in self.groups.items()}
        return channels | {name: layer.kept for name, layer in self.weights.items()}


class Parity(Record):
    """How an exported file's outputs agree with torch's on real images; `passed` is None where it was not checked."""

    method: ParityMethod | None
    max_rel_error: float | None
    """Largest absolute logit difference over the largest absolute logit."""
    top1_agreement: Share | None
    n: int
    passed: bool | None
    reason: str | None = None
    """Why it failed or was not checked."""


class Artifact(Record):
    """One exported file (or .mlpackage folder) of one variant."""

    variant: str
    format: Literal["tflite", "coreml"]
    precision: str
    path: str
    """Relative to the run folder."""
    sha256: str
    size_bytes: int
    evaluation: Evaluation | None
    """On the test split, computed by the file itself; None with the reason in `missing`."""
    parity: Parity
    missing: dict[str, str] = {}


class Preprocessing(Record):
    """How pixels (0..255, RGB) become the network's input: (pixel / 255 - mean) / std, after resizing."""

    image_size: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: str
    """How an image of another size was brought to image_size, in words."""


class BenchLine(Record):
    """One line of `bench/measurements.jsonl`: an exported file, by its path in the run folder, on one device."""

    artifact: str
    device_spec: str
    measurement: Measurement


class EnergyCost(Record):
    """One network's energy of an inference over the dense network's, and the share of that which the target allows."""

    ratio: float
    target_ratio: float
    share: Share
    """How much of the reward's cost term is energy; the rest is latency."""


class EnergyAnswer(EnergyCost):
    source: EnergySourceName


class EnergyResult(EnergyCost):
    """What a search found about its winner, on the device that misses the target most; millijoules of an inference."""

    device_spec: str
    dense_mj: float
    dense_ci95: tuple[float, float]
    mj: float
    ci95: tuple[float, float]
    method: str


def over_target(latency: float, energy: EnergyCost | None) -> float:
    """The cost over its target, the worse of those that count: 1 or less meets them all.

    Args:
        latency: the latency over its own target.
    """
    if energy is None:
        return latency
    by_energy = energy.ratio / energy.target_ratio
    return max(latency, by_energy) if counts_latency(energy) else by_energy


class EpisodeStep(Record):
    group: str
    """What was pruned: a channel group, or a layer where weights are pruned."""
    action: int | float | None
    """The agent's: a number of the choices, or a share to keep; None where a whole plan was given instead."""
    kept: int
    """Channels, or weights."""
    evaluation: Evaluation | None
    """None where nothing asked how accurate the network was after this step: never at the last one."""
    cost: CostName
    cost_ratio: float
    """The share of the dense network's cost that is left after this step."""
    target_ratio: float
    """The share that the target allows."""
    latency_ms: float | None
    """What the latency source said; None where the cost is not latency."""
    dense_latency_ms: float | None
    latency_source: LatencySourceName | None
    energy: EnergyAnswer | None = None
    """None where energy is no part of the reward."""
    reward: float

    @property
    def meets_targets(self) -> bool:
        """Whether each cost that counts is within its target."""
        return over_target(self.cost_ratio / self.target_ratio, self.energy) <= 1.0


class Episode(Record):
    """One walk over all groups, as one line of `episodes.jsonl`."""

    index: int
    seed: int
    kind: EpisodeKind = "explore"
    """`reference` is played before the agent starts (the uniform plan), `greedy` is what the trained agent would do,
    `average` the mean of its greedy episodes' actions."""
    steps: tuple[EpisodeStep, ...]
    plan: dict[str, int]
    """Kept channels per group (or weights per layer) at the end: the actions' plan, brought to the target."""
    evaluation: Evaluation | None
    latency_ms: float | None
    dense_latency_ms: float | None
    """The dense network's, from the same sitting as `latency_ms`."""
    latency_source: LatencySourceName | None
    reward: float
    """Sum of the steps' rewards."""
    failure: str | None = None
    """Why it was stopped before its last step; such a plan is never a candidate to win."""
    seconds: dict[str, float] = {}
    """Wall time by part: `evaluation`, `latency` (that of energy included), and `own` (masking, features, agent)."""

    @property
    def cost_ratio(self) -> float:
        """The share of the dense network's cost that is left at its end."""
        return self.steps[-1].cost_ratio


def counts_latency(energy: EnergyCost | None) -> bool:
    """Latency counts unless the reward's cost term is energy alone."""
    return energy is None or energy.share < 1.0


def read_json[R: Record](record: type[R], path: Path) -> R:
    return record.model_validate_json(path.read_text())
