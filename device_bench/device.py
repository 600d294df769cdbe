"""What a device is to the rest of the package: a place that runs jobs and says what it is.

A new kind of device is one new file in `devices/` (see there). It gets whole jobs, not single inferences, so that a
slow link between here and there is never inside a timed loop.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field

from device_bench.errors import UsageError
from device_bench.records import (
    Accelerator,
    BenchSpec,
    Delegate,
    DelegateUse,
    DeviceInfo,
    MemoryUse,
    OpTime,
    PositiveInt,
    PowerUse,
    Readiness,
    Record,
    RuntimeInfo,
    ThermalState,
)
from device_bench.sidecar import Golden
from device_bench.trials import Trial

if TYPE_CHECKING:
    from device_bench.load import SustainedLoad

Elapsed = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
"""A time that something took; a clock that gives 0 is broken, and would make an unbeatable latency."""


class JobModel(Record):
    path: Path
    """Where the file lies on *this* machine; a remote device pushes it and runs its own copy."""
    golden: Golden | None = None


class Job(Record):
    """What one runner process does: loads all models, warms each up, then times them.

    One model is timed in one go. Several are timed in turns of about `block_s` seconds each, in balanced random order,
    until every one of them has `timed_runs` samples and `min_seconds` seconds.
    """

    models: tuple[JobModel, ...]
    warmup_runs: int
    timed_runs: PositiveInt
    min_seconds: float
    threads: PositiveInt
    accelerator: Accelerator = "cpu"
    delegate: Delegate | None = None
    affinity: tuple[int, ...] | None = None
    block_s: float = 0.01
    seed: int = 0
    window_s: Elapsed | None = None
    """For a sustained load: one model is busy for `min_seconds` seconds, told of window by window of this length."""
    timeout_s: float

    @classmethod
    def of(cls, spec: BenchSpec, models: tuple[JobModel, ...], seed: int = 0) -> Job:
        return cls(
            models=models,
            warmup_runs=spec.warmup_runs,
            timed_runs=spec.timed_runs,
            min_seconds=spec.min_seconds,
            threads=spec.threads,
            accelerator=spec.accelerator,
            delegate=spec.delegate,
            affinity=spec.affinity,
            seed=seed,
            # How long one inference takes is not known yet: five minutes catch a hang, and spare a slow network.
            timeout_s=300 + 4 * spec.min_seconds * len(models),
        )


class RunAggregate(Record):
    """What a tool that keeps its samples to itself says about one of its runs; milliseconds of one inference."""

    n: PositiveInt
    mean: Elapsed
    min: Elapsed
    max: Elapsed
    std: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] | None = None
    median: Elapsed | None = None
    p5: Elapsed | None = None
    p95: Elapsed | None = None


class ModelRun(Record):
    """What one model did in one runner process."""

    init_ms: Elapsed
    first_ms: Elapsed
    blocks: tuple[tuple[Elapsed, ...], ...]
    """Milliseconds of each timed inference, turn by turn; turn i of all models of a job was taken in one round.

    With `aggregates`, each turn holds one value: the median of the tool's run of that turn.
    """
    aggregates: tuple[RunAggregate, ...] | None = None
    """One for each turn, from a tool that gives no samples."""
    wall_s: Elapsed
    """Wall time of the timed loops together."""
    golden_error: float | None
    """Largest absolute difference from the golden outputs over the largest of them; None without golden outputs."""
    delegate: DelegateUse | None
    ops: tuple[OpTime, ...] | None = None
    missing: dict[str, str]


class CpuShares(Record):
    """Who had the CPUs while models were timed, in seconds of CPU time over `wall_s` seconds of all CPUs together."""

    wall_s: Elapsed
    others_s: Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
    """Other programs and the kernel's interrupts."""
    stolen_s: Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
    """The hypervisor, for other machines than this one."""
    waited_s: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] | None
    """What the runner's threads together were ready to run and had no CPU; None where nobody counts it."""


class JobResult(Record):
    """What came back from one runner process; `missing` says why a None is None."""

    runtime: RuntimeInfo
    models: tuple[ModelRun, ...]
    memory: MemoryUse | None
    thermal: ThermalState | None
    missing: dict[str, str]
    cpu_shares: CpuShares | None = None
    """From runners that look; what of it is too much is in `rejections`."""
    rejections: tuple[str, ...] = ()
    """Reasons of the device's own why this must not be believed, such as "charging"."""


class Missing(Record):
    """Stands where a value could not be had."""

    reason: str


class Observer:
    """Whom a device tells what goes on; this one listens to nothing."""

    def doing(self, text: str) -> None:
        """What it does now, in a few words."""

    def said(self, name: str, text: str) -> None:
        """What a program on the device printed, word for word."""


class Device(ABC):
    """An open connection to a device; use it as a context manager."""

    observer: Observer = Observer()

    accelerators: tuple[Accelerator, ...] = ("cpu",)
    delegates: tuple[Delegate, ...] = ("xnnpack",)
    formats: tuple[str, ...] = ("tflite",)
    """Formats of the model files that run here."""
    pause_s: float = 1.0
    """After a rejected process, before it is repeated; doubles with each in a row."""

    @abstractmethod
    def info(self) -> DeviceInfo: ...

    @abstractmethod
    def check(self, model_path: Path, spec: BenchSpec) -> None:
        """Refuse what cannot work here, before anything is started.

        Raises:
            UsageError: this device cannot run such a file, or not under such a spec.
        """

    def check_accelerator(self, spec: BenchSpec) -> None:
        """Refuse an accelerator or a delegate that is not here.

        Raises:
            UsageError: with those that are.
        """
        where = f"{self.info().model} ({self.info().kind})"
        if spec.accelerator not in self.accelerators:
            raise UsageError(
                f"accelerator {spec.accelerator!r}: {where} is measured on {', '.join(self.accelerators)} only; "
                "ask for that, or name a device that has one"
            )
        if spec.delegate is not None and spec.delegate not in self.delegates:
            raise UsageError(
                f"delegate {spec.delegate!r}: {where} has {', '.join(self.delegates) or 'none to choose'}; "
                "ask for that, or leave it out"
            )

    def prepare(self, readiness: Readiness) -> None:  # noqa: B027 - a device without a battery or a screen is ready
        """Bring the device into the state that a measurement wants, waiting where time helps.

        Raises:
            DeviceUnavailableError: it cannot get there; the text says what is in the way.
        """

    @abstractmethod
    def run(self, job: Job) -> JobResult:
        """Run one job in a fresh runner process; after a TransientDeviceError it may be called again.

        Raises:
            UsageError: the runtime refuses the model file.
            TransientDeviceError: the device did not answer this time.
            DeviceUnavailableError: the device is gone.
            RunnerError: the runner died, took longer than `job.timeout_s`, or printed garbage.
        """

    def power_unavailable(self) -> str | None:
        """Why power cannot be measured as things are, found out without a measurement; None where it may work."""
        return f"power is not measured on a {self.info().kind} of this kind"

    def power(self, job: Job) -> PowerUse | Missing:
        """Power and energy of the job's only model, in a pass of its own: no probe runs while latency is timed."""
        reason = self.power_unavailable()
        assert reason is not None, "a device on which power may work has a power() of its own"
        return Missing(reason=reason)

    def sustain(self, job: Job) -> SustainedLoad:
        """Keep the job's only model busy for `min_seconds` seconds, in windows of `window_s`, and watch the device.

        Ctrl-C ends the load early, and what was seen until then is returned.

        Raises:
            UsageError: this kind of device cannot do it; else as for `run`.
        """
        raise UsageError(f"a {self.info().kind} of this kind cannot be kept under load; measure it without --sustained")

    def ops(self, job: Job) -> tuple[OpTime, ...] | Missing:
        """Time of each operation of the job's only model, in a pass of its own: to note it takes time itself.

        A runner that finds it beside its timed runs has it in `ModelRun.ops` already, and is not asked again.
        """
        return Missing(reason="the runner gives no times of single operations")

    def trials(self) -> tuple[Trial, ...]:
        """What a self-test tries of this kind of device alone, before the models."""
        return ()

    def close(self) -> None:  # noqa: B027 - most devices have nothing to let go of
        """Let go of the device; closing twice is harmless."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
