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

import importlib
import json
import shutil
from pathlib import Path
from typing import Any

import yaml

from pipeline.config import Config, load_config, validate_config
from pipeline.errors import ConfigError, StorageError
from pipeline.preflight import check_devices, check_names
from pipeline.progress import Progress, Silent
from pipeline.provenance import manifest
from pipeline.report import write_report
from pipeline.run_folder import MEASURED, RunFolder, hash_json, write_json, write_text, writing

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
        if fresh or not _noted(folder, "bench"):
            check_devices(config)
        _describe(folder.path, config, fresh)
        if fresh and (measured := folder.path / MEASURED).exists():
            with writing(measured):
                shutil.rmtree(measured)
        upstream: list[str] = []
        for name in STAGES[: STAGES.index(until) + 1] if until else STAGES:
            work = _Work(name, config, folder, progress)
            inputs = _inputs(name, config, upstream)
            done = folder.run_stage(name, inputs, work, fresh=fresh, renewable=name == "report")
            progress.stage(name, f"done in {done.seconds:.1f} s" if work.started else "unchanged")
            upstream.append(done.digest())
    return folder.path


def report_again(run_dir: Path, out: Path | None = None) -> Path:
    """Write the report of a run again, from what is stored, and return its folder.

    Args:
        run_dir: the run folder; stages that are not done yet are left out of the report.
        out: where to write; the run's own report folder by default.

    Raises:
        StorageError: the folder is not a run, or holds results of different configurations.
    """
    if not (run_dir / "config.yaml").exists():
        raise StorageError(f"{run_dir}: not a run folder (it has no config.yaml); give a folder such as runs/demo")
    config = load_config(run_dir / "config.yaml")
    folder = RunFolder(run_dir)
    with folder.locked():
        inputs = _inputs("report", config, _finished(folder, config))
        if out is not None:
            with writing(out):
                write_report(run_dir, out)
            return out
        folder.run_stage("report", inputs, _Work("report", config, folder, Silent()), fresh=True)
    return folder.stage("report")


class _Work:
    """What a stage does, told to the progress when it really starts."""

    def __init__(self, name: str, config: Config, folder: RunFolder, progress: Progress) -> None:
        self._name, self._config, self._folder, self._progress = name, config, folder, progress
        self.started = False

    def __call__(self, work: Path) -> None:
        self.started = True
        self._progress.stage(self._name, "started")
        _module(self._name).run(self._config, self._folder, work, progress=self._progress)


def _module(name: str) -> Any:
    return importlib.import_module(f"pipeline.stages.{name}")


def _inputs(name: str, config: Config, upstream: list[str]) -> str:
    """The hash of what a stage depends on: its part of the configuration, and every stage before it."""
    return hash_json([_module(name).inputs(config), *upstream])


def _noted(folder: RunFolder, name: str) -> bool:
    """Whether the stage has ended once; its files are looked at when its turn comes."""
    return (folder.stage(name) / "done.json").exists()


def _finished(folder: RunFolder, config: Config) -> list[str]:
    """The digests of the stages before the report that are done, all with this configuration."""
    digests: list[str] = []
    wrong, missing = [], ""
    for name in STAGES[:-1]:
        note = folder.read_note(name)
        if note is None:
            missing = missing or name
        elif missing or note.inputs != _inputs(name, config, digests):
            wrong.append(name)
        if note is not None:
            digests.append(note.digest())
    if wrong:
        lacking = f" or without the {missing} stage, which is not there" if missing else ""
        raise StorageError(
            f"{folder.path}: {', '.join(wrong)} made with another configuration than its config.yaml{lacking}; run "
            f"`{folder.command()}` first"
        )
    return digests


def _describe(path: Path, config: Config, fresh: bool) -> None:
    """Write the resolved configuration, and who ran it where: kept from its first start, renewed when it changes."""
    about = manifest(config)
    with writing(path):
        write_text(path / "config.yaml", yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
        if fresh or _config_hash(path / "manifest.json") != about["config_sha256"]:
            write_json(path / "manifest.json", about)


def _config_hash(file: Path) -> Any:
    """The hash of the configuration that a stored manifest was made for; None if there is none that can be read."""
    try:
        return json.loads(file.read_bytes())["config_sha256"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
