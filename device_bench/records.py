"""The values that a measurement is made of: one schema for every device, in memory, in JSON and in the store.

A number that was not measured is None, and `Measurement.missing` says why; it is never 0.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

DeviceKind = Literal["device", "host", "container", "emulator", "simulator", "fake", "unknown"]
"""`unknown` is only in a log that somebody saved: it does not say where it was made."""
Accelerator = Literal["cpu", "gpu", "npu", "ane"]
Delegate = Literal["xnnpack", "none", "gpu", "nnapi", "npu"]
Screen = Literal["any", "on", "off"]
Verdict = Literal["faster", "slower", "inconclusive"]
AccuracyVerdict = Literal["gained", "lost", "inconclusive"]

DELEGATES: dict[Accelerator, tuple[Delegate, ...]] = {
    "cpu": ("xnnpack", "none"),
    "gpu": ("gpu",),
    "npu": ("npu", "nnapi"),
    "ane": (),
}

PositiveInt = Annotated[int, Field(ge=1)]


class Record(BaseModel):
    """A frozen value; an unknown key is an error, so that a misspelt one cannot vanish."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class DeviceInfo(Record):
    """Which device: `id` is stable over reboots, `model` is what a person calls it."""

    id: str
    kind: DeviceKind
    model: str
    os: str
    abi: str
    soc: str | None = None


class RuntimeInfo(Record):
    name: Literal["litert", "coreml"]
    version: str
    runner: str
    runner_sha256: str | None = None


class ArtifactInfo(Record):
    """A model file. Hash and size are None only in a log that somebody saved without the file."""

    path: str
    sha256: str | None
    format: str
    precision: str | None
    size_bytes: int | None


class Readiness(Record):
    """The state that a device must be in before it is measured; a device without the thing in question is ready."""

    screen: Screen = "any"
    """`on` and `off` are brought about where the device lets us, and are an error where it does not."""
    min_battery_percent: Annotated[int, Field(ge=0, le=100)] = 20
    max_start_c: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] | None = 40.0
    """Battery and skin at most this warm (degrees Celsius); the measurement waits for it. None does not wait."""
    wait_s: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] = 600.0
    """Longest wait for the temperature."""
    max_others_cpus: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] | None = 0.1
    """How many CPUs' worth of work other programs may do while a model is timed. None allows any load."""


class BenchSpec(Record):
    """How a model is timed. The loop ends when both `timed_runs` and `min_seconds` are reached."""

    warmup_runs: Annotated[int, Field(ge=0)] = 10
    timed_runs: PositiveInt = 50
    min_seconds: Annotated[float, Field(ge=0.0)] = 1.0
    processes: PositiveInt = 1
    """Processes at least; one that is rejected is repeated, and does not count."""
    precision: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    """Processes are added until the half width of the 95% interval over its value is at most this; None adds none."""
    max_processes: PositiveInt = 20
    """Processes at most, those that are repeated included; never fewer than `processes`."""
    allow_partial: bool = False
    """Whether a network that the delegate took only in part may count."""
    threads: PositiveInt = 1
    accelerator: Accelerator = "cpu"
    delegate: Delegate | None = None
    """What runs the network on the accelerator; None takes the usual one: XNNPACK on a CPU, the GPU's, the NPU's."""
    affinity: tuple[int, ...] | None = None
    """CPU numbers that the runner is pinned to; None leaves it to the scheduler."""
    readiness: Readiness = Readiness()

    @model_validator(mode="after")
    def _delegate_runs_on_the_accelerator(self) -> Self:
        fitting = DELEGATES[self.accelerator]
        if self.delegate is not None and self.delegate not in fitting:
            raise ValueError(
                f"delegate {self.delegate!r} does not run on accelerator {self.accelerator!r}: "
                f"there it is {' or '.join(fitting) or 'none to choose'}"
            )
        return self

    @property
    def most_processes(self) -> int:
        return max(self.processes, self.max_processes)

    @model_validator(mode="after")
    def _precision_takes_two_processes(self) -> Self:
        if self.precision is not None and self.most_processes < 2:
            raise ValueError(
                f"precision {self.precision:g} with max_processes 1: one process has no interval; "
                "allow two or more, or leave precision out"
            )
        return self


class LatencyStats(Record):
    """Milliseconds of one inference. `ci95` is of the median, Student's over processes, so one process has none.

    A tool that gives only aggregates leaves nulls here; whatever measures live gives the median at least.
    """

    median: float | None
    mean: float
    std: float | None
    min: float
    max: float
    p5: float | None
    p90: float | None
    p95: float | None
    p99: float | None
    n: int
    ci95: tuple[float, float] | None
    samples: tuple[float, ...] | None
    processes: tuple[int, ...]


class MemoryUse(Record):
    peak_rss_mb: float
    model_mb: float | None
    """Peak less what the runtime used before the model was loaded; None where only the peak is known."""
    method: str


class PowerUse(Record):
    mean_mw: float
    idle_mw: float
    energy_per_inference_mj: float
    ci95: tuple[float, float]
    method: str


class ThermalState(Record):
    start_c: float | None
    end_c: float | None
    freq_mhz_min: float | None
    freq_mhz_max: float | None
    throttled: bool | None


class DelegateUse(Record):
    """`nodes_delegated` of `nodes_total` operations of the model ran in `partitions` pieces on the delegate."""

    name: str
    partitions: int
    nodes_delegated: int
    nodes_total: int


class OpTime(Record):
    name: str
    type: str
    mean_ms: float
    share: float


class SparseUse(Record):
    """What became of the `stored` weight tensors that a file holds without their zeros.

    `kernels` operations ran on sparse kernels; with 0 the tensors were unpacked, and the zeros computed with. None
    where nobody can tell.
    """

    stored: PositiveInt
    kernels: Annotated[int, Field(ge=0)] | None


UNSTABLE = "unstable"
"""How a rejection begins that takes nothing from the figures but precision."""


def kind_of(reason: str) -> str:
    """What a rejection begins with, such as `busy`; the rest of it differs from process to process."""
    return reason.partition(":")[0]


class RejectedProcess(Record):
    """What a process measured that was rejected, and repeated where that helps; milliseconds."""

    reasons: tuple[str, ...]
    median_ms: float | None
    samples: tuple[float, ...] | None
    """Of each timed inference; None from a tool that keeps them to itself."""
    started_at: str


class Measurement(Record):
    """What one model file did on one device under one spec, and whether that may be believed."""

    device: DeviceInfo
    runtime: RuntimeInfo
    artifact: ArtifactInfo
    spec: BenchSpec
    latency_ms: LatencyStats
    init_ms: float | None
    first_ms: float | None
    fps: float | None
    memory: MemoryUse | None
    power: PowerUse | None
    thermal: ThermalState | None
    delegate: DelegateUse | None
    ops: tuple[OpTime, ...] | None
    sparse: SparseUse | None = None
    """None of a file that holds all its zeros, as most do."""
    missing: dict[str, str]
    valid: bool
    rejections: tuple[str, ...]
    rejected: tuple[RejectedProcess, ...] = ()
    """None of these is in the figures above, unless no process was good."""
    started_at: str

    @property
    def believed(self) -> bool:
        """Whether the figures hold: valid, or only known less exactly than was asked for."""
        return all(kind_of(reason) == UNSTABLE for reason in self.rejections)

    @property
    def median_ms(self) -> float:
        """The median latency, which every live measurement has; a log of an old tool may lack it (ValueError)."""
        if self.latency_ms.median is None:
            raise ValueError(f"{self.artifact.path}: no median ({self.missing['latency_ms.median']})")
        return self.latency_ms.median

    @model_validator(mode="after")
    def _null_has_a_reason(self) -> Self:
        for name in ("init_ms", "first_ms", "fps", "memory", "power", "thermal", "delegate", "ops"):
            if getattr(self, name) is None and name not in self.missing:
                raise ValueError(f"{name} is null without a reason in `missing`")
        for name, value in self.latency_ms:
            if value is None and f"latency_ms.{name}" not in self.missing:
                raise ValueError(f"latency_ms.{name} is null without a reason in `missing`")
        if self.sparse is not None and self.sparse.kernels is None and "sparse.kernels" not in self.missing:
            raise ValueError("sparse.kernels is null without a reason in `missing`")
        if self.valid == bool(self.rejections):
            raise ValueError("a measurement is valid exactly when it has no rejections")
        return self


class AccuracyDifference(Record):
    """Top-1 of the candidate less the baseline's, both as the files themselves gave it on the same images; shares of 1.

    `ci95` is Agresti and Min's interval for pairs, `p_value` McNemar's exact test, and `verdict` says what it decides.
    """

    difference: float
    ci95: tuple[float, float]
    p_value: float
    n: PositiveInt
    discordant: tuple[int, int]
    """Images that only the baseline classified right, and those that only the candidate did."""
    verdict: AccuracyVerdict
    baseline_top1: float
    candidate_top1: float
    split: str


class Comparison(Record):
    """Interleaved A/B: `ratio` is the candidate's latency over the baseline's (below 1 is faster)."""

    baseline: str
    candidate: str
    ratio: float
    ci95: tuple[float, float]
    verdict: Verdict
    noise_floor: float
    """Relative difference that the same file shows against itself in the same sitting."""
    accuracy: AccuracyDifference | None = None
    missing: dict[str, str] = {"accuracy": "written by a version that did not compare accuracies"}

    @model_validator(mode="after")
    def _null_has_a_reason(self) -> Self:
        if (self.accuracy is None) != ("accuracy" in self.missing):
            raise ValueError("accuracy is null exactly when `missing` has a reason for it")
        return self


class NoiseFloor(Record):
    """What difference a comparison can show at all on a device, from how files compared with themselves there."""

    processes: PositiveInt
    """Of the comparison that this is said of."""
    floor: float
    """Relative difference that two copies of one file stay below in 95% of such comparisons."""
    ci95: tuple[float, float]
    """Of `floor`, by chi-square: few processes tell a spread badly."""
    visible: float
    """Relative difference that is found, by the verdict, in 90% of such comparisons."""
    process_spread: float
    """Standard deviation of a process's log ratio of two copies, less what its sitting has in common."""
    sitting_spread: float
    """What all processes of a sitting have in common: more processes do not take it away."""
    n: PositiveInt
    """Processes that this was learned from."""
    sittings: PositiveInt
    models_ms: tuple[float, float]
    """Latency of the fastest and of the slowest of the files."""
    period: tuple[str, str]
    """When the first and the last sitting began; UTC, ISO 8601."""


class ComparisonResult(Record):
    comparisons: tuple[Comparison, ...]
    measurements: tuple[Measurement, ...]
    baseline_log_ratios: tuple[float, ...] = ()
    """Natural logarithm of the latency of the baseline's second copy over its first, in each process that counted."""
    device_noise: NoiseFloor | None = None
    missing: dict[str, str] = {"device_noise": "not looked up"}

    @model_validator(mode="after")
    def _null_has_a_reason(self) -> Self:
        if (self.device_noise is None) != ("device_noise" in self.missing):
            raise ValueError("device_noise is null exactly when `missing` has a reason for it")
        return self


JsonObject = dict[str, Any]
