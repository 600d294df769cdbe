"""The main flow: baseline -> profile -> search -> finetune -> export -> bench -> report.

    baseline   train (or load) the dense network                                          stages/baseline.py
    profile    measure random variants on the device, fit its latency table               stages/profile.py
    search     an agent prunes group by group, paid by accuracy and measured latency      stages/search.py
    finetune   rebuild the winner and the controls, train each the same way               stages/finetune.py
    export     TFLite and Core ML files, each checked against torch                       stages/export.py
    bench      time every exported file on the device, dense against pruned interleaved   stages/bench.py
    report     one HTML page, JSON and Markdown from what is stored                       stages/report.py

A stage runs if it has not, or if what it depends on has changed: its part of the configuration, or a stage before it.
"""

from __future__ import annotations

import functools
import importlib
from pathlib import Path
from typing import Any

import yaml

from pipeline.config import Config, load_config, validate_config
from pipeline.errors import ConfigError, StorageError
from pipeline.preflight import check_devices, check_names
from pipeline.progress import Progress, Silent
from pipeline.provenance import manifest
from pipeline.run_folder import RunFolder, hash_json, write_json, write_text, writing

STAGES = ("baseline", "profile", "search", "finetune", "export", "bench", "report")


def run(
    config: Config | dict[str, Any],
    *,
    run_dir: Path | None = None,
    until: str | None = None,
    fresh: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Run the pipeline, or what is left of it, and return the run folder.

    Args:
        config: a validated configuration, or a mapping as in the YAML file.
        run_dir: the run folder; `runs/<name>` by default.
        until: the last stage to run.
        fresh: do every stage again, whatever is there.
        progress: told what is going on; silent by default.

    Raises:
        PipelineError, DeviceBenchError, ModelsError: see their trees; what is done stays done.
    """
    if not isinstance(config, Config):
        config = validate_config(config)
    if until is not None and until not in STAGES:
        raise ConfigError(f"--until {until!r}: no such stage; the stages are {', '.join(STAGES)}")
    check_names(config)
    if config.torch_threads:
        import torch

        torch.set_num_threads(config.torch_threads)
    progress = progress or Silent()
    folder = RunFolder(run_dir or Path("runs") / config.name)
    with folder.locked():
        if fresh or folder.done("bench") is None:
            check_devices(config)
        _describe(folder.path, config)
        upstream: list[str] = []
        for name in STAGES[: STAGES.index(until) + 1] if until else STAGES:
            stage = importlib.import_module(f"pipeline.stages.{name}")
            inputs = hash_json([stage.inputs(config), *upstream])
            current = None if fresh else folder.done(name)
            unchanged = current is not None and current.inputs == inputs
            if not unchanged:
                progress.stage(name, "started")
            work = functools.partial(stage.run, config, folder, progress=progress)
            done = folder.run_stage(name, inputs, work, fresh=fresh)
            progress.stage(name, "unchanged" if unchanged else f"done in {done.seconds:.1f} s")
            upstream.append(done.digest())
    return folder.path


def report_again(run_dir: Path) -> Path:
    """Write the report of a run again, from what is stored, and return its folder.

    Raises:
        StorageError: the folder is not a run.
    """
    if not (run_dir / "config.yaml").exists():
        raise StorageError(f"{run_dir}: not a run folder (it has no config.yaml); give a folder such as runs/demo")
    config = load_config(run_dir / "config.yaml")
    folder = RunFolder(run_dir)
    stage = importlib.import_module("pipeline.stages.report")
    with folder.locked():
        before = folder.read_note("report")
        work = functools.partial(stage.run, config, folder, progress=Silent())
        folder.run_stage("report", before.inputs if before else "", work, fresh=True)
    return folder.stage("report")


def _describe(path: Path, config: Config) -> None:
    """Write the resolved configuration, and who ran what where (kept from the first start of the run)."""
    with writing(path):
        write_text(path / "config.yaml", yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
        if not (path / "manifest.json").exists():
            write_json(path / "manifest.json", manifest(config))
