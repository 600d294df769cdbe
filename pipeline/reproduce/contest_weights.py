"""The contest's weight pruning: how far zeros compress a network, and what its files without zeros save on the device.

All weight methods start from the pair's trained network and fine-tune as long as the channel methods, zeros staying
zero. A kernel for dense weights computes with zeros as with other numbers, so their operating points are sparsities and
not latencies; what the files really save is measured beside the dense file, in one sitting of its own.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import device_bench
from device_bench.records import BenchSpec
from pipeline.config import Config
from pipeline.errors import MeasurementRejectedError
from pipeline.export import TfliteConverter
from pipeline.export.worker import Worker
from pipeline.pruning.weights import weight_layers
from pipeline.records import PruningPlan
from pipeline.reproduce.contest import Pair, WeightMethod, configuration, contestant
from pipeline.reproduce.context import Context
from pipeline.reproduce.table import Results
from pipeline.run_folder import writing
from pipeline.search import agents
from pipeline.search.env import PruneEnv
from pipeline.search.episodes import EpisodeLog
from pipeline.search.finalists import shortlist
from pipeline.search.meter import FRESH_PROCESSES
from pipeline.search.weight_rounds import fine_tuned, open_layers, plan_of, uniform_kept
from pipeline.search.weight_search import make_weight_task
from pipeline.subject import Subject


def weight_contestant(pair: Pair, method: WeightMethod, sparsity: float, seed: int) -> Config:
    """The configuration of one cell."""
    changes = {"pruning": {"kind": "weights"}, **method.changes}
    return configuration(pair, changes, {"sparsity": sparsity}, seed, f"{pair.name} at {sparsity:.0%} zeros")


def sparse_accuracy(pair: Pair, method: WeightMethod, sparsity: float, seed: int, context: Context[Any]) -> Results:
    """Search, zero, fine-tune as the channel methods do, and classify the test images, which no search has seen."""
    subject = context.subject(weight_contestant(pair, method, sparsity, seed))
    found = (
        search_weights(subject, sparsity, context.folder) if "search" in method.changes else _uniform(subject, sparsity)
    )
    kept = found["plan"]
    tuned = fine_tuned(
        subject,
        subject.network,
        _plan(subject, kept),
        checkpoint=context.folder / "checkpoint.pt",
        on_epoch=lambda report: context.progress.update("fine-tuning", report.epoch, report.epochs),
    )
    tested = subject.evaluate(tuned, subject.data.test)
    zeros = {layer.name: layer.size - kept[layer.name] for layer in open_layers(subject)}
    weights = sum(layer.size for layer in weight_layers(subject.network, subject.input_shape))
    dense = subject.shape.params({})
    return {
        "top1": tested.top1,
        "top5": tested.top5,
        "loss": tested.loss,
        "sparsity": sum(zeros.values()) / weights,
        "compression": dense / (dense - sum(zeros.values())),
        "theoretical_speedup": subject.shape.macs({}) / subject.shape.macs_without(zeros),
        **found,
    }


def _uniform(subject: Subject, sparsity: float) -> dict[str, Any]:
    layers, started = open_layers(subject), time.monotonic()
    weights = sum(layer.size for layer in weight_layers(subject.network, subject.input_shape))
    kept = uniform_kept(subject.network, layers, weights, sparsity)
    return {"plan": kept, "evaluations": 0, "judged_steps": 0, "search_s": time.monotonic() - started}


def search_weights(subject: Subject, sparsity: float, folder: Path) -> dict[str, Any]:
    """The plan of the episode that ended best; a search that was killed goes on from `folder`."""
    config, started = subject.config, time.monotonic()
    log = EpisodeLog(folder / "episodes.jsonl")
    env = PruneEnv(make_weight_task(subject, subject.network, open_layers(subject), sparsity), log, config.seed)
    agents.find(config.search.agent)(env, config.search, config.seed, folder)
    spent = sum(sum(episode.seconds.values()) for episode in log.episodes)  # of earlier processes as well
    (best,) = shortlist(log.episodes, 1)
    return {
        "plan": dict(best.plan),
        "evaluations": len(log.episodes),
        "judged_steps": sum(step.evaluation is not None for e in log.episodes for step in e.steps[:-1]),
        "search_s": max(spent, time.monotonic() - started),
    }


def _plan(subject: Subject, kept: Mapping[str, int]) -> PruningPlan:
    return plan_of(subject, open_layers(subject), kept)


def measure_sparse(pair: Pair, seed: int, plans: Mapping[str, Mapping[str, int]], context: Context[Any]) -> Results:
    """Files without zeros against the dense file, in one sitting of fresh processes.

    How long a file takes depends on where its zeros are, and not on the other values: those of the dense network serve.

    Args:
        plans: weights that each layer keeps, by the name of the file's row.

    Returns:
        `files` by the same names: time and bytes over the dense file's, how many weight tensors are stored without
        zeros, and how many operations ran on sparse kernels (None where the profile does not tell).

    Raises:
        MeasurementRejectedError: the machine was busy; the cell is run again another time.
    """
    config = contestant(pair, {}, speedup=2.0, seed=seed)
    subject = context.subject(config)
    bench = config.search.bench.spec()
    spec = bench.model_copy(update={"processes": max(FRESH_PROCESSES, bench.processes)})
    with tempfile.TemporaryDirectory() as workspace:
        dense, files = _exported(subject, plans, Path(workspace))
        return _compared(config.device, spec, dense, files)


def _exported(subject: Subject, plans: Mapping[str, Mapping[str, int]], folder: Path) -> tuple[Path, dict[str, Path]]:
    """The dense file, and one without zeros for each plan."""
    files = {}
    with TfliteConverter() as converter, Worker(tensorflow=True) as sparsifier:
        dense = converter.convert(subject.network, subject.input_shape, folder / "dense.tflite")
        for number, (name, kept) in enumerate(plans.items()):
            network = subject.slim(_plan(subject, kept))
            plain = converter.convert(network, subject.input_shape, folder / f"plain-{number}.tflite")
            content = sparsifier.call("sparse conversion", "sparse:store_sparse", model=plain.read_bytes())
            files[name] = folder / f"sparse-{number}.tflite"
            with writing(files[name]):
                files[name].write_bytes(content)
    return dense, files


def _compared(device: str, spec: BenchSpec, dense: Path, files: Mapping[str, Path]) -> Results:
    result = device_bench.compare([dense, *files.values()], device=device, spec=spec)
    reasons = {reason: None for one in result.measurements if not one.believed for reason in one.rejections}
    if reasons:
        raise MeasurementRejectedError(
            f"{device}: a measurement was rejected ({'; '.join(reasons)}); mend the cause (stop what else runs, let "
            "the device cool down) and run again"
        )
    of_dense, *measured = result.measurements
    found = {}
    for name, one, comparison in zip(files, measured, result.comparisons, strict=True):
        found[name] = {
            "ratio": comparison.ratio,
            "ci95": comparison.ci95,
            "bytes": files[name].stat().st_size,
            "stored_sparse": one.sparse.stored if one.sparse else 0,
            "sparse_kernels": one.sparse.kernels if one.sparse else 0,
        }
    return {
        "files": found,
        "dense_ms": of_dense.median_ms,
        "dense_bytes": dense.stat().st_size,
        "device": f"{of_dense.device.model} ({of_dense.device.abi})",
    }
