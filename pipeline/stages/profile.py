"""Measure random variants on each device and fit its latency table; note what differences can be seen there at all."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from device_bench.device import Missing
from pipeline.config import Config
from pipeline.export import TfliteConverter
from pipeline.progress import Progress
from pipeline.run_folder import RunFolder, write_json
from pipeline.search.latency_table import LatencyTable
from pipeline.search.meter import FRESH_PROCESSES, LatencyMeter
from pipeline.search.profile import Profiler
from pipeline.search.task import CONVERTERS, open_meters
from pipeline.subject import Subject


def inputs(config: Config) -> Any:
    search = config.search
    return [
        config.seed,
        config.pruning,
        config.device_specs(),
        search.bench,
        search.profile if _wants_table(config) else None,
        search.reward_from,
    ]


def run(config: Config, folder: RunFolder, work: Path, progress: Progress) -> None:
    tables: list[LatencyTable] = []
    floors: list[dict[str, Any]] = []
    if config.pruning.kind == "weights":  # nothing is measured before the exported files are
        write_json(work / "latency_table.json", {"tables": tables, "error": None})
        write_json(work / "noise.json", floors)
        return
    subject = Subject(config, folder.stage("baseline") / "model.safetensors")
    with tempfile.TemporaryDirectory() as workspace, TfliteConverter(workers=CONVERTERS) as converter:
        for meter in open_meters(subject, folder.path, work, Path(workspace), converter):
            if _wants_table(config):
                profiler = Profiler(meter, subject.shape, config.pruning, config.search.profile, progress.update)
                tables.append(profiler.build(config.seed))
            progress.update("measuring the noise floor")
            floors.append(_noise(meter))
    errors = [table.error for table in tables if table.error is not None]
    worst = max(errors, key=lambda error: error.median, default=None)
    write_json(work / "latency_table.json", {"tables": tables, "error": worst})
    write_json(work / "noise.json", floors)


def _wants_table(config: Config) -> bool:
    return config.search.target.cost == "latency" and config.search.latency_source != "measured"


def _noise(meter: LatencyMeter) -> dict[str, Any]:
    """What difference can be seen where the search decides; null with the reason where that is not known."""
    floor = meter.noise_floor(max(meter.spec.processes, FRESH_PROCESSES))
    if isinstance(floor, Missing):
        return {"device": meter.device.id, "floor": None, "missing": floor.reason}
    return {"device": meter.device.id, "floor": floor}
