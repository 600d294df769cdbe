"""Measure random variants on each device and fit its latency table; note what differences can be seen there at all."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config import Config
from pipeline.export import TfliteConverter
from pipeline.progress import Progress
from pipeline.run_folder import RunFolder, write_json
from pipeline.search.profile import build_table
from pipeline.search.task import CONVERTERS, open_meters
from pipeline.subject import Subject


def inputs(config: Config) -> Any:
    search = config.search
    return [
        config.seed,
        config.pruning,
        config.device_specs(),
        search.bench,
        search.profile if search.latency_source != "measured" else None,
        search.reward_from,
    ]


def run(config: Config, folder: RunFolder, work: Path, progress: Progress) -> None:
    tables: list[Any] = []
    if config.search.latency_source == "measured":
        write_json(work / "latency_table.json", {"tables": tables, "error": None})
        return
    subject = Subject(config, folder.stage("baseline") / "model.safetensors")
    profile = config.search.profile
    floors = []
    with tempfile.TemporaryDirectory() as workspace, TfliteConverter(workers=CONVERTERS) as converter:
        for meter in open_meters(subject, work, Path(workspace), converter):
            table, measured = build_table(
                meter,
                subject.shape,
                config.pruning,
                fit_variants=profile.fit_variants,
                check_variants=profile.check_variants,
                seed=config.seed,
                on_result=lambda done, total: progress.update("measuring variants", done, total),
            )
            tables.append(table)
            floors.append({"device": table.device.id, "noise_floor": _median([m.noise_floor for m in measured])})
    worst = max((table.error for table in tables), key=lambda error: error.median)
    write_json(work / "latency_table.json", {"tables": tables, "error": worst})
    write_json(work / "noise.json", floors)


def _median(values: list[float]) -> float:
    return float(np.median(values))
