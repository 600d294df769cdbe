"""A device that is not there, to try things with: its latency is a pure function of the model file's size.

fake://NAME                     a well-behaved device; every measurement carries kind "fake"
fake://NAME?ms_per_mb=2.5       milliseconds per 2**20 bytes (default 1)
fake://NAME?fail=2              the first 2 jobs fail as a lost connection does, and may be tried again
fake://NAME?reject=REASON       every process is rejected with this reason,
fake://NAME?...&reject_first=2  or only the first 2
fake://NAME?noise=0.05          processes differ by 5% (standard deviation); each job's seed gives its own level
fake://NAME?mj_per_mb=5         millijoules of an inference per 2**20 bytes (without it there is no energy)
fake://NAME?charging=true       is attached to a charger: no energy either
fake://NAME?tires=0.4           under a sustained load its rate falls evenly, by this share at the end
fake://gone                     is never there
"""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Annotated
from urllib.parse import parse_qsl, urlsplit

from pydantic import Field, ValidationError

from device_bench.device import Device, Job, JobModel, JobResult, Missing, ModelRun
from device_bench.devices import DeviceListing
from device_bench.errors import DeviceUnavailableError, TransientDeviceError, UsageError
from device_bench.load import LoadTrace, LoadWindow, SustainedLoad
from device_bench.modelfile import check_file
from device_bench.probes.power_pass import CHARGING
from device_bench.records import BenchSpec, DeviceInfo, PowerUse, Record, RuntimeInfo

EXAMPLE = "fake://example"
REASON = "a fake device has none"
IDLE_MW = 100.0
ENERGY_SPREAD = 0.01
"""Half the width of an energy's interval, as a share of it."""


class Script(Record):
    """How the device behaves; the options of its spec."""

    ms_per_mb: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] = 1.0
    fail: Annotated[int, Field(ge=0)] = 0
    reject: str | None = None
    reject_first: Annotated[int, Field(ge=0)] | None = None
    noise: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    mj_per_mb: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] | None = None
    charging: bool = False
    tires: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0


def connect(spec: str) -> Device:
    parts = urlsplit(spec)
    if not parts.netloc:
        raise UsageError(f"device {spec!r}: a fake device needs a name; write fake://NAME")
    try:
        script = Script.model_validate(dict(parse_qsl(parts.query, keep_blank_values=True)))
    except ValidationError as error:
        options = ", ".join(Script.model_fields)
        raise UsageError(f"device {spec!r}: wrong option; known: {options}, as in fake://NAME?fail=2") from error
    if parts.netloc == "gone":
        raise DeviceUnavailableError(f"device {spec!r}: not there; this name never is")
    return FakeDevice(parts.netloc, script)


def discover() -> list[DeviceListing]:
    return []  # nobody has lost one


class FakeDevice(Device):
    pause_s = 0.0

    def __init__(self, name: str, script: Script) -> None:
        self._name = name
        self._script = script
        self._failures_left = script.fail
        self._rejections_left = math.inf if script.reject_first is None else script.reject_first

    def info(self) -> DeviceInfo:
        return DeviceInfo(
            id=f"fake-{self._name}", kind="fake", model=f"fake device {self._name}", os="none", abi="none"
        )

    def check(self, model_path: Path, spec: BenchSpec) -> None:
        check_file(model_path)
        self.check_accelerator(spec)

    def run(self, job: Job) -> JobResult:
        if self._failures_left:
            self._failures_left -= 1
            raise TransientDeviceError(f"fake://{self._name}: connection lost, as scripted")
        rejections = (self._script.reject,) if self._script.reject and self._rejections_left > 0 else ()
        self._rejections_left -= 1
        levels = random.Random(job.seed)
        return JobResult(
            runtime=RuntimeInfo(name="litert", version="fake", runner="fake"),
            models=tuple(self._run(model, job, levels.gauss(0.0, self._script.noise)) for model in job.models),
            memory=None,
            thermal=None,
            missing={"memory": REASON, "thermal": REASON},
            rejections=rejections,
        )

    def power_unavailable(self) -> str | None:
        if self._script.charging:
            return CHARGING
        return REASON if self._script.mj_per_mb is None else None

    def power(self, job: Job) -> PowerUse | Missing:
        reason = self.power_unavailable()
        if reason is not None:
            return Missing(reason=reason)
        model = job.models[0]
        energy_mj = self.energy_mj(model)
        return PowerUse(
            mean_mw=IDLE_MW + energy_mj / self._latency_ms(model) * 1e3,
            idle_mw=IDLE_MW,
            energy_per_inference_mj=energy_mj,
            ci95=((1 - ENERGY_SPREAD) * energy_mj, (1 + ENERGY_SPREAD) * energy_mj),
            method="made up",
        )

    def energy_mj(self, model: JobModel) -> float:
        """Energy of one inference; 0 where none is scripted."""
        return model.path.stat().st_size / 2**20 * (self._script.mj_per_mb or 0.0)

    def sustain(self, job: Job) -> SustainedLoad:
        """By a clock of its own: it takes no time."""
        window_s = job.window_s or job.min_seconds
        count = max(1, round(job.min_seconds / window_s))
        windows = []
        for i in range(count):
            latency_ms = self._latency_ms(job.models[0]) / (1 - self._script.tires * i / max(1, count - 1))
            n = max(1, round(window_s * 1e3 / latency_ms))
            windows.append(LoadWindow(start_s=i * window_s, end_s=(i + 1) * window_s, n=n, median_ms=latency_ms))
        trace = LoadTrace(windows=tuple(windows), interrupted=False, method="made up")
        return SustainedLoad(trace=trace, heat=Missing(reason=REASON))

    def _latency_ms(self, model: JobModel) -> float:
        return model.path.stat().st_size / 2**20 * self._script.ms_per_mb

    def _run(self, model: JobModel, job: Job, level: float) -> ModelRun:
        latency_ms = self._latency_ms(model) * math.exp(level)
        return ModelRun(
            init_ms=latency_ms,
            first_ms=latency_ms,
            blocks=((latency_ms,),) * job.timed_runs,
            wall_s=latency_ms / 1e3 * job.timed_runs,
            golden_error=None,
            delegate=None,
            missing={"delegate": REASON},
        )
