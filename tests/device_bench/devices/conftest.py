from __future__ import annotations

from pathlib import Path

import pytest

from device_bench import steadiness
from tests.device_bench.devices.rig_faults import MODEL_BYTES
from tests.device_bench.golden import with_golden


@pytest.fixture(autouse=True)
def no_judgement_of_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests count jobs: none must be repeated because the machine that they run on is restless."""
    monkeypatch.setattr(steadiness, "rejections", lambda run: [])


@pytest.fixture(scope="session")
def large_model(tiny_tflite: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with golden inputs, long enough that its push has a middle."""
    folder = tmp_path_factory.mktemp("large")
    padded = folder / "padded.tflite"
    padded.write_bytes(tiny_tflite.read_bytes().ljust(MODEL_BYTES, b"\0"))
    return with_golden(padded, folder / "model.tflite")
