"""Tries a device, and finds out what can be seen there, with a sample network of ours or with the user's own files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import device_bench
from device_bench.noise_run import DeviceNoise
from device_bench.records import BenchSpec
from device_bench.selftest import SelfTest, selftest
from pipeline.progress import DeviceProgress, Progress


def try_device(spec: str, models: Sequence[Path], bundle: Path, *, power: bool, progress: Progress) -> SelfTest:
    """A self-test of the device; see `device_bench.selftest`."""
    with _or_samples(spec, models, progress) as files:
        return selftest(spec, files, bundle, power=power, on_trial=lambda name: progress.update(name))


def find_noise(device: str, model: Path | None, spec: BenchSpec, comparisons: int, progress: Progress) -> DeviceNoise:
    """What difference can be seen on the device; see `device_bench.noise_floor`."""
    with _or_samples(device, [] if model is None else [model], progress) as files:
        return device_bench.noise_floor(files[0], device, spec, comparisons, observer=DeviceProgress(progress))


@contextmanager
def _or_samples(device_spec: str, models: Sequence[Path], progress: Progress) -> Iterator[Sequence[Path]]:
    """The models; where there are none, a sample network in the formats that run on the device."""
    with tempfile.TemporaryDirectory(prefix="pocketprune-sample-") as folder:
        if not models:
            with device_bench.open_device(device_spec) as device:  # nothing is exported for a device that is not there
                formats = device.formats
            progress.update("exporting a sample network")
            from pipeline.export.sample import export_sample  # here, since it loads torch

            models = export_sample(Path(folder), formats)
        yield models
