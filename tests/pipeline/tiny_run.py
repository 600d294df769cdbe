"""A whole run in seconds: a small residual network, digits at 16 px, and a fake device that answers from file size.

Run as a program, `python -m tests.pipeline.tiny_run CONFIG RUN_DIR [STAGE N]`, it kills itself (SIGKILL, as the system
would) at the N-th sign of progress inside STAGE.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn


class TinyNet(nn.Module):
    """Two stages, a residual sum in each, so that groups are coupled."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.block = nn.Sequential(nn.Conv2d(16, 32, 3, 1, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU())
        self.project = nn.Sequential(nn.Conv2d(32, 16, 1, bias=False), nn.BatchNorm2d(16))
        self.last = nn.Sequential(nn.Conv2d(16, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU())
        self.head = nn.Linear(32, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = x + self.project(self.block(x))
        return self.head(self.last(x).mean(dim=(2, 3)))


def build(num_classes: int) -> nn.Module:
    return TinyNet(num_classes)


def tiny_config(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "name": "tiny",
        "model": {"name": f"{__file__}:build"},
        "data": {"name": "digits", "image_size": 16},
        "baseline": {"epochs": 2},
        "pruning": {"round_to": 4},
        "search": {
            "episodes": 4,
            "target": {"latency": 0.6, "accuracy_drop": 0.02},
            "profile": {"fit_variants": 6, "check_variants": 2},
            "bench": {"processes": 1, "precision": None},
            "finalists": 2,
            "finalist_epochs": 1,
            "reward_from": ["fake"],
        },
        "device": "fake://lab",
        "finetune": {"epochs": 2},
        "export": {"tflite": ["fp32"], "coreml": []},
        "bench": {"processes": 2, "precision": None, "min_seconds": 0.01},
        "controls": ["uniform", "random"],
    }
    for key, value in changes.items():
        section, _, name = key.partition("__")
        if name:
            values[section] = {**values.get(section, {}), name: value}
        else:
            values[section] = value
    return values


class Killer:
    """A progress display that kills its process at the N-th update of one stage."""

    def __init__(self, stage: str, at: int) -> None:
        self._wanted = stage
        self._left = at
        self._stage = ""

    def stage(self, name: str, state: str) -> None:
        self._stage = name if state == "started" else ""

    def update(self, text: str, done: int | None = None, total: int | None = None) -> None:
        if self._stage == self._wanted:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    from pipeline.config import load_config
    from pipeline.flow import run

    progress = Killer(sys.argv[3], int(sys.argv[4])) if len(sys.argv) > 3 else None
    run(load_config(Path(sys.argv[1])), run_dir=Path(sys.argv[2]), progress=progress)
