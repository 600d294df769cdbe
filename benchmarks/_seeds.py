"""One configuration run with several seeds, and its variants compared with each other over all of them."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_bench.accuracy import paired_difference
from pipeline import progress
from pipeline.config import Config, load_config
from pipeline.evaluation import correct, logits
from pipeline.flow import run
from pipeline.records import PruningPlan, read_json
from pipeline.subject import Subject, load_weights


@dataclass(frozen=True)
class SeedResult:
    """`answers[variant]`: 1 or 0 for each test image; `ratios[variant]`: fp32 latency over dense, interleaved."""

    seed: int
    answers: dict[str, NDArray[np.float64]]
    ratios: dict[str, float]
    search_s: float
    episodes: int


def arguments(description: str, argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds, from 0 on")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where the run folders go")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--set", action="append", default=[], help="change a key of the configuration: KEY=VALUE")
    return parser.parse_args(argv)


def run_seeds(config_file: Path, options: argparse.Namespace) -> list[SeedResult]:
    """Run (or go on with, or just read) one run folder for each seed."""
    results = []
    for seed in range(options.seeds):
        name = f"{config_file.stem}-seed-{seed}"
        config = load_config(config_file, (*options.set, f"seed={seed}", f"name={name}"))
        with progress.for_stderr() as shown:
            folder = run(config, run_dir=options.runs / name, until="bench", progress=shown)
        results.append(read_result(config, folder))
    return results


def read_result(config: Config, folder: Path) -> SeedResult:
    subject = Subject(config, folder / "baseline" / "model.safetensors")
    answers = {"dense": _answers(subject, subject.network)}
    for name in ("pruned", *config.controls):
        source = folder / "finetune" / ("" if name == "pruned" else name)
        network = subject.slim(read_json(PruningPlan, source / "plan.json"))
        load_weights(network, source / "model.safetensors")
        answers[name] = _answers(subject, network)
    comparisons = json.loads((folder / "bench" / "comparison.json").read_text())["comparisons"]
    ratios = {Path(c["candidate"]).name.removesuffix("-fp32.tflite"): c["ratio"] for c in comparisons}
    summary = json.loads((folder / "search" / "summary.json").read_text())
    return SeedResult(config.seed, answers, ratios, summary["wall_s"], summary["episodes"])


def _answers(subject: Subject, network: Any) -> NDArray[np.float64]:
    outputs, labels = logits(network, subject.data.test)
    return correct(outputs, labels, subject.accuracy)


def print_table(results: list[SeedResult]) -> None:
    print(f"{'variant':<10}{'latency/dense':>14}{'top-1 mean':>12}{'std':>7}  by seed")
    for name in results[0].answers:
        accuracies = [float(result.answers[name].mean()) for result in results]
        ratio = mean(result.ratios.get(name, 1.0) for result in results)
        spread = stdev(accuracies) if len(accuracies) > 1 else float("nan")
        by_seed = " ".join(f"{accuracy:.4f}" for accuracy in accuracies)
        print(f"{name:<10}{ratio:>14.4f}{mean(accuracies):>12.4f}{spread:>7.4f}  {by_seed}")


def difference(results: list[SeedResult], a: str, b: str) -> dict[str, Any]:
    """Accuracy of `a` less that of `b`, image by image over all seeds, with its 95% interval.

    Every seed's answers count as their own. Where the seeds draw their test images from one small set (digits), the
    same image is asked more than once, and the interval is somewhat too narrow.
    """
    pairs = [(result.answers[a], result.answers[b]) for result in results]
    value, interval = paired_difference(*(np.concatenate(side) for side in zip(*pairs, strict=True)))
    return {"a": a, "b": b, "difference": value, "ci95": interval, "n": sum(len(side) for side, _ in pairs)}


def write_json(path: Path | None, values: dict[str, Any]) -> None:
    if path:
        path.write_text(json.dumps(values, indent=2) + "\n")
