"""Tries a device with a sample network of ours, or with the user's own files."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import device_bench
from device_bench.selftest import SelfTest, selftest
from pipeline.progress import Progress


def try_device(spec: str, models: Sequence[Path], bundle: Path, *, power: bool, progress: Progress) -> SelfTest:
    """A self-test of the device; see `device_bench.selftest`."""
    with tempfile.TemporaryDirectory(prefix="pocketprune-sample-") as folder:
        if not models:
            with device_bench.open_device(spec) as device:  # nothing is exported for a device that is not there
                formats = device.formats
            progress.update("exporting a sample network")
            from pipeline.export.sample import export_sample  # here, since it loads torch

            models = export_sample(Path(folder), formats)
        return selftest(spec, models, bundle, power=power, on_trial=lambda name: progress.update(name))
