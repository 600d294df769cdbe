"""How large the contest is run: networks, data, operating points, and what each method changes."""

from __future__ import annotations

from typing import Any

from pipeline.reproduce.contest import Contest, Pair, WeightMethod
from pipeline.reproduce.scale import Scale
from pipeline.reproduce.verdicts import OURS

RETRAINED: dict[str, Any] = {
    "recover": {"kind": "retrain", "images": 4096, "batch_size": 64, "learning_rate": 0.05, "distill": 0.7}
}
"""How an evaluated plan is judged, the same for every method: by all validation images after a brief retraining.

Tried on the development seed: less retraining (recalibrated batch norm, 1,024 or 2,048 images) ranks clearly different
plans wrongly. This one tells poor plans from good ones; of plans that end within a point of each other it does not say
which is better (six plans at 6x: rank correlation 0.4 to 0.5 with four epochs of fine-tuning).
"""


def methods(evaluations: int) -> dict[str, dict[str, Any]]:
    """Every method may have this many plans evaluated; those that learn nothing need none or one."""
    learned: dict[str, Any] = {"episodes": evaluations - 1}  # and one at the end, of what was learned or chosen
    l1: dict[str, Any] = {"importance": "l1"}  # as their papers have it
    amc_reward: dict[str, Any] = {"name": "amc", "dense": False}
    return {
        "uniform": {"pruning": l1},
        "random plan": {"pruning": l1, "search": {"agent": "random", "actions": "continuous", "episodes": 1}},
        "global L1": {"pruning": l1, "search": {"agent": "global_l1", "episodes": 1}},
        "knapsack": {"pruning": {"importance": "taylor"}, "search": {"agent": "knapsack", "episodes": 1}},
        "greedy by table": {"pruning": l1, "search": {"agent": "greedy", **learned}},
        "DQN, dense rewards": {"pruning": l1, "search": {"agent": "dqn", **learned}},
        "AMC": {"pruning": l1, "search": {"agent": "amc", "reward": amc_reward, **learned}},
        "linear policy": {"pruning": l1, "search": {"agent": "explainable", "reward": amc_reward, **learned}},
        "uniform, Fisher": {"pruning": {"importance": "fisher"}},
        OURS: {"pruning": {"importance": "fisher"}, "search": {"agent": "tradeoff", **learned}},
    }


def weight_methods(
    evaluations: int, images: int, uniform: tuple[float, ...], purl: tuple[float, ...]
) -> dict[str, WeightMethod]:
    """PuRL's agent, state and dense rewards; batch norm is recalibrated after each layer, and nothing retrained.

    Its own retraining after each layer, which the PuRL tables have, would make one search last longer than all others.

    Args:
        images: training images that batch norm is recalibrated on, and validation images that judge a layer.
    """
    search = {
        "agent": "dqn",
        "episodes": evaluations - 1,
        "stop_below": 0.0,
        "recover": {"kind": "batchnorm", "images": images},
        "judge_images": images,
    }
    return {
        "weights, uniform": WeightMethod(changes={}, sparsities=uniform),
        "weights, PuRL": WeightMethod(changes={"search": search}, sparsities=purl),
    }


SMOKE = Contest(
    pairs=(
        Pair(
            name="mobilenet_v1, digits 32",
            config={
                "torch_threads": 1,
                "model": {"name": "mobilenet_v1", "options": {"width": 0.25}},
                "data": {"name": "digits", "image_size": 32},
                "baseline": {"epochs": 2},
                "finetune": {"epochs": 1},
                "search": {
                    "finalists": 1,
                    "judge_images": 32,
                    "recover": {"kind": "batchnorm", "images": 64},
                    "bench": {
                        "min_seconds": 0.0,
                        "timed_runs": 3,
                        "processes": 1,
                        "precision": None,
                        "readiness": {"max_others_cpus": None},
                    },
                    "profile": {"fit_variants": 8, "check_variants": 2, "layers": False},
                },
            },
        ),
    ),
    methods=methods(3),
    speedups=(1.5,),
    weight_methods=weight_methods(3, 32, uniform=(0.8,), purl=(0.8,)),
)

SMALL = Contest(
    pairs=(
        Pair(
            name="mobilenet_v2, glyphs 48",
            config={
                "torch_threads": 1,
                "model": {"name": "mobilenet_v2"},
                "data": {
                    "name": "glyphs",
                    "image_size": 48,
                    "options": {"train": 12000, "validation": 2000, "test": 4000},
                },
                "baseline": {"epochs": 14},
                "finetune": {"epochs": 4},
                "search": {"finalists": 1, **RETRAINED},
            },
        ),
        Pair(
            name="resnet18, glyphs 32",
            config={
                "torch_threads": 1,
                "model": {"name": "resnet18"},
                "data": {
                    "name": "glyphs",
                    "image_size": 32,
                    "options": {"train": 12000, "validation": 2000, "test": 4000},
                },
                "baseline": {"epochs": 10},
                "finetune": {"epochs": 4},
                "search": {"finalists": 1, **RETRAINED},
            },
            seeds=1,
        ),
    ),
    methods=methods(32),
    speedups=(1.5, 2.4, 4.0, 6.0, 8.0),
    weight_methods=weight_methods(32, 128, uniform=(0.5, 0.8, 0.9), purl=(0.8,)),
)

PAPER = Contest(
    pairs=tuple(
        Pair(
            name=f"{model}, ImageNet 224",
            config={
                "model": {"name": model, "weights": "imagenet"},
                "data": {"name": "imagefolder", "root": "data/imagenet", "image_size": 224},
                "finetune": {"epochs": 30, "batch_size": 256, "learning_rate": 0.01},
                "search": {"finalists": 1, "recover": {"kind": "batchnorm", "images": 4096}},
            },
        )
        for model in ("mobilenet_v2", "resnet50", "resnet18")
    ),
    methods=methods(400),
    speedups=(1.5, 2.0, 3.0, 4.0, 6.0, 8.0),
    weight_methods=weight_methods(400, 1024, uniform=(0.5, 0.8, 0.9), purl=(0.5, 0.8, 0.9)),
)

SCALES = {Scale.smoke: SMOKE, Scale.small: SMALL, Scale.paper: PAPER}
