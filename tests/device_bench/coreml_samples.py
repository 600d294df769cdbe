"""A Core ML model that is none, and the Swift runner's answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from device_bench.answer import SENTINEL
from device_bench.device import Job, JobModel
from device_bench.records import BenchSpec
from device_bench.xcode import SOURCES

MODEL = {
    "init_ms": 12.5,
    "first_ms": 3.0,
    "blocks": [[1.0, 1.5, 1.25]],
    "wall_s": 0.004,
    "golden_error": None,
    "delegate": None,
    "missing": {},
}
ANSWER: dict[str, Any] = {
    "coreml_version": "3404.16.1",
    "os": "Version 26.4 (Build 23E1)",
    "translated": False,
    "baseline_bytes": 4 * 2**20,
    "peak_bytes": 20 * 2**20,
    "thermal_states": ["nominal", "nominal"],
    "loop_s": [10.0, 11.0],
    "models": [MODEL],
    "plans": [None],
}
XCODE = "Xcode 26.1\nBuild version 17B55\n"


def package(path: Path, program: bytes = b"program") -> Path:
    (path / "Data").mkdir(parents=True)
    (path / "Manifest.json").write_text("{}")
    (path / "Data" / "model.mlmodel").write_bytes(program)
    return path


def job(*paths: Path, **changes: Any) -> Job:
    spec = BenchSpec.model_validate({"warmup_runs": 1, "timed_runs": 3, "min_seconds": 0.0, **changes})
    return Job.of(spec, tuple(JobModel(path=path) for path in paths))


def printed(answer: dict[str, Any] = ANSWER) -> str:
    return "Core ML says something\n\n" + SENTINEL + json.dumps(answer) + "\n"


def build_call(sdk: str, target: str) -> list[str]:
    sources = sorted(map(str, SOURCES.glob("*.swift")))
    options = ["-O", "-swift-version", "5", "-target", target]
    return ["xcrun", "--sdk", sdk, "swiftc", *options, *sources, "-o", "*"]
