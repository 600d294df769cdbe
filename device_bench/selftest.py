"""Tries every part that measures on one device, and keeps what was seen in a bundle that a user can send in.

    selftest("adb://192.168.1.20:5555", [model.tflite], bundle=Path("selftest.zip")) -> SelfTest

The bundle is a zip file: `selftest.json` (the record below), and under `raw/` what the device said, word for word.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from device_bench.assemble import assemble
from device_bench.bench import check
from device_bench.device import Device, Job, Missing, Observer
from device_bench.devices import open_device
from device_bench.errors import (
    DeviceBenchError,
    DeviceUnavailableError,
    RunnerError,
    TransientDeviceError,
    UsageError,
)
from device_bench.records import BenchSpec, DeviceInfo, Measurement, Readiness, Record
from device_bench.sitting import Sitting, utc_now, with_retries
from device_bench.trials import Evidence, NotHereError, Trial

Outcome = Literal["passed", "failed", "not here"]
ANY_LOAD = Readiness(max_others_cpus=None)
"""It is tried whether the device works, not how fast it is."""
QUICK = BenchSpec(warmup_runs=3, timed_runs=20, min_seconds=0.1, max_processes=1, readiness=ANY_LOAD)


class TrialResult(Record):
    name: str
    outcome: Outcome
    detail: str
    """What was seen; for `failed` what went wrong, for `not here` why it cannot be tried on this device."""
    seconds: float


class SelfTest(Record):
    device_spec: str
    device: DeviceInfo
    trials: tuple[TrialResult, ...]
    measurements: tuple[Measurement, ...]
    pocketprune: str
    client: str
    """System of the machine that asked."""
    started_at: str

    @property
    def passed(self) -> bool:
        return all(trial.outcome != "failed" for trial in self.trials)


def selftest(
    spec: str,
    models: Sequence[Path],
    bundle: Path,
    *,
    power: bool = True,
    on_trial: Callable[[str], None] | None = None,
) -> SelfTest:
    """Run every trial that the device can, one after another; one that fails does not end the others.

    Args:
        models: exported files of a format that the device runs, with sidecars.
        bundle: the zip file to write; it appears whole or not at all.
        power: measure power too, which loads the device for minutes.
        on_trial: told the name of each trial before it starts, and what goes on in a long one.

    Raises:
        UsageError, DeviceUnavailableError: there is no such device to try things on.
    """
    started_at = utc_now()
    results: list[TrialResult] = []
    with tempfile.TemporaryDirectory(prefix="pocketprune-") as folder, open_device(spec) as device:
        evidence = Evidence(Path(folder))
        device.observer = Reporter(evidence, on_trial)
        sitting = _Sitting(device, [Path(model) for model in models], evidence)
        for trial in (*device.trials(), *sitting.trials(power)):
            if on_trial is not None:
                on_trial(trial.name)
            tried = _tried(trial, evidence)
            results.append(tried.model_copy(update={"detail": tried.detail.replace(spec, _without_serial(spec))}))
        result = SelfTest(
            device_spec=_without_serial(spec),
            device=device.info(),
            trials=tuple(results),
            measurements=tuple(sitting.measurements),
            pocketprune=_version(),
            client=f"{platform.platform()}, Python {platform.python_version()}",
            started_at=started_at,
        )
        _pack(result, Path(folder), bundle)
    return result


class Reporter(Observer):
    """Keeps all that is said on the device, and passes on what is done there."""

    def __init__(self, evidence: Evidence, on_doing: Callable[[str], None] | None) -> None:
        self._evidence = evidence
        self._on_doing = on_doing
        self._count = 0

    def doing(self, text: str) -> None:
        if self._on_doing is not None:
            self._on_doing(text)

    def said(self, name: str, text: str) -> None:
        self._count += 1
        self._evidence.keep(f"{self._count:03d}-{name}.txt", text)


class _Sitting:
    """The trials that every kind of device has: models run, wrong ones are refused, nothing is believed too easily."""

    def __init__(self, device: Device, models: Sequence[Path], evidence: Evidence) -> None:
        self.measurements: list[Measurement] = []
        self._device = device
        self._models = models
        self._evidence = evidence

    def trials(self, power: bool) -> Iterator[Trial]:
        yield Trial("readiness", self._readiness)
        yield Trial("a damaged file is refused", self._damaged)
        for model in self._models:
            for accelerator in self._device.accelerators:
                spec = QUICK.model_copy(update={"accelerator": accelerator})
                yield Trial(f"{model.name} on {accelerator}", self._measured(model, spec))
        yield Trial("two models in turns", self._turns)
        if power:
            yield Trial("power", self._power)

    def _readiness(self, evidence: Evidence) -> str:
        self._device.prepare(QUICK.readiness)
        return "ready"

    def _damaged(self, evidence: Evidence) -> str:
        damaged = evidence.folder / f"damaged{self._models[0].suffix}"
        if self._models[0].is_dir():
            damaged.mkdir()
        else:
            damaged.write_bytes(self._models[0].read_bytes()[:200])
        try:
            subject = check(self._device, damaged, QUICK)
            self._device.run(Job.of(QUICK, (subject.job_model(),)))
        except DeviceBenchError as error:
            return f"{type(error).__name__}: {str(error).splitlines()[0]}"
        finally:
            if damaged.is_file():
                damaged.unlink()
        raise UsageError("200 bytes of a model were run as if they were one")

    def _measured(self, model: Path, spec: BenchSpec) -> Callable[[Evidence], str]:
        def trial(evidence: Evidence) -> str:
            subject = check(self._device, model, spec)
            started_at = utc_now()
            try:
                result = with_retries(partial(self._device.run, Job.of(spec, (subject.job_model(),))))
            except (UsageError, DeviceUnavailableError) as fault:
                if spec.accelerator == "cpu" or isinstance(fault, TransientDeviceError):
                    raise
                raise NotHereError(str(fault)) from fault
            sitting = Sitting(spec, (subject,))
            sitting.take(result, started_at)
            measured = assemble(self._device.info(), sitting)
            self.measurements.append(measured)
            if not measured.valid:
                reasons = "; ".join(measured.rejections)
                if spec.accelerator != "cpu" and "not delegated" in reasons:
                    raise NotHereError(reasons)
                raise RunnerError(f"rejected: {reasons}")
            error = result.models[0].golden_error
            golden = "its answers were not compared" if error is None else f"answers differ by {error:.2g}"
            return f"{measured.median_ms:.4g} ms, {golden}"

        return trial

    def _turns(self, evidence: Evidence) -> str:
        subject = check(self._device, self._models[0], QUICK)
        job = Job.of(QUICK, (subject.job_model(), subject.job_model()))
        result = with_retries(partial(self._device.run, job))
        first, second = ([ms for turn in run.blocks for ms in turn] for run in result.models)
        return f"{len(result.models[0].blocks)} rounds; {len(first)} and {len(second)} figures"

    def _power(self, evidence: Evidence) -> str:
        subject = check(self._device, self._models[0], QUICK)
        used = self._device.power(Job.of(QUICK, (subject.job_model(),)))
        if isinstance(used, Missing):
            raise NotHereError(used.reason)
        return f"{used.energy_per_inference_mj:.3g} mJ per inference by {used.method}"


def _tried(trial: Trial, evidence: Evidence) -> TrialResult:
    start_s = time.monotonic()
    outcome: Outcome = "passed"
    try:
        detail = trial.run(evidence)
    except NotHereError as reason:
        outcome, detail = "not here", str(reason)
    except DeviceBenchError as error:
        outcome, detail = "failed", f"{type(error).__name__}: {error}"
    return TrialResult(name=trial.name, outcome=outcome, detail=detail, seconds=time.monotonic() - start_s)


def _without_serial(spec: str) -> str:
    """A bundle goes to others, and a serial number is the owner's."""
    scheme, _, name = spec.partition("://")
    return f"{scheme}://(serial left out)" if "+" in scheme and name else spec


def _pack(result: SelfTest, folder: Path, bundle: Path) -> None:
    partial = bundle.with_name(f".{bundle.name}.partial-{os.getpid()}")
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("selftest.json", result.model_dump_json(indent=2))
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    archive.write(path, f"raw/{path.relative_to(folder).as_posix()}")
        partial.replace(bundle)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise UsageError(f"{bundle}: cannot be written ({error.strerror}); give another file with --out") from error


def _version() -> str:
    try:
        return importlib.metadata.version("pocketprune")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
