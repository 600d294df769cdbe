"""Measure random variants on each device and fit its latency table; note what differences can be seen there at all."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from device_bench import noise
from device_bench.device import Missing
from pipeline.config import Config
from pipeline.export import TfliteConverter
from pipeline.progress import Progress
from pipeline.run_folder import RunFolder, write_json
from pipeline.search.latency_table import LatencyTable
from pipeline.search.meter import FRESH_PROCESSES
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
        search.profile if search.latency_source != "measured" else None,
        search.reward_from,
    ]


def run(config: Config, folder: RunFolder, work: Path, progress: Progress) -> None:
    tables: list[LatencyTable] = []
    if config.search.latency_source == "measured":
        write_json(work / "latency_table.json", {"tables": tables, "error": None})
        return
    subject = Subject(config, folder.stage("baseline") / "model.safetensors")
    with tempfile.TemporaryDirectory() as workspace, TfliteConverter(workers=CONVERTERS) as converter:
        for meter in open_meters(subject, work, Path(workspace), converter):
            profiler = Profiler(meter, subject.shape, config.pruning, config.search.profile, progress.update)
            tables.append(profiler.build(config.seed))
    errors = [table.error for table in tables if table.error is not None]
    worst = max(errors, key=lambda error: error.median)
    write_json(work / "latency_table.json", {"tables": tables, "error": worst})
    write_json(work / "noise.json", [_noise(table) for table in tables])


def _noise(table: LatencyTable) -> dict[str, Any]:
    """What difference can be seen on the table's device: the profile's own sittings are remembered there by now."""
    processes = max(table.spec.processes, FRESH_PROCESSES)
    floor = noise.floor(table.device.id, table.spec, processes, runtime=table.runtime, model_ms=table.dense_ms)
    reason = {"missing": floor.reason} if isinstance(floor, Missing) else {}
    return {"device": table.device.id, "floor": None if reason else floor, **reason}
