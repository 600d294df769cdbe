"""What a run was made with: versions, commit, seed, machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.config import Config
from pipeline.run_folder import hash_json

PACKAGES = (
    "pocketprune",
    "torch",
    "torchvision",
    "torch-pruning",
    "stable-baselines3",
    "onnx2tf",
    "ai-edge-litert",
    "ai-edge-quantizer",
    "coremltools",
)


def manifest(config: Config) -> dict[str, Any]:
    return {
        "run": config.name,
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": config.seed,
        "config_sha256": hash_json(config),
        "git_commit": git_commit(),
        "versions": versions(),
        "machine": {"system": platform.platform(), "cpu_count": os.cpu_count(), "argv": Path(sys.argv[0]).name},
    }


def versions() -> dict[str, str | None]:
    """Of Python and of the packages that results may depend on; None where one is not installed."""
    return {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def git_commit() -> str | None:
    """The commit of the source tree that runs, or None where it is not a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() or None
