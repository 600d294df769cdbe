"""A search over the weights of a network that is trained in a second, on the toy data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.config import Config
from pipeline.subject import Subject, save_weights
from pipeline.training import fit
from tests.pipeline.toy import SIDE, toy_data, toy_network

LAYERS = {"0": 216, "3": 576, "8": 216}
"""Weights of each."""


class ToySubject(Subject):
    def __init__(self, config: Config, weights: Path) -> None:
        super().__init__(config, weights)
        self.__dict__["data"] = toy_data(noise=30.0)


def toy_config(pruning: dict[str, Any] | None = None, **search: Any) -> Config:
    recover = {"kind": "retrain", "each_step": True, "images": 60, "learning_rate": 0.05}
    return Config.model_validate(
        {
            "name": "toy",
            "model": {"name": "tests.pipeline.toy:toy"},
            "data": {"image_size": SIDE},
            "baseline": {"epochs": 4},
            "pruning": {"kind": "weights", **(pruning or {})},
            "search": {
                "agent": "dqn",
                "episodes": 2,
                "target": {"sparsity": 0.6, "accuracy_drop": 0.05},
                "recover": recover,
                "finalists": 2,
                "finalist_epochs": 1,
                **search,
            },
            "finetune": {"epochs": 2},
        }
    )


def toy_subject(folder: Path, pruning: dict[str, Any] | None = None, **search: Any) -> ToySubject:
    """Its network is trained once in each folder."""
    config, weights = toy_config(pruning, **search), folder / "dense.safetensors"
    if not weights.exists():
        network = toy_network()
        fit(network, toy_data(noise=30.0), config.baseline, seed=0)
        save_weights(network.eval(), weights)
    return ToySubject(config, weights)
