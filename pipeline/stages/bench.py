"""Time every exported TFLite file on every device, then the fp32 variants interleaved against the dense one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import device_bench
from pipeline.config import Config
from pipeline.contenders import comparable
from pipeline.progress import DeviceProgress, Progress
from pipeline.records import Artifact, BenchLine
from pipeline.run_folder import RunFolder, append_json_line, read_json_lines, write_json


def inputs(config: Config) -> Any:
    return [config.bench, config.device_specs()]


def run(config: Config, folder: RunFolder, work: Path, progress: Progress) -> None:
    listed = json.loads((folder.stage("export") / "artifacts.json").read_text())
    ran = [one for one in map(Artifact.model_validate, listed) if one.format == "tflite" and one.evaluation is not None]
    for number, device in enumerate(config.device_specs()):
        _time(config, folder, work, progress, ran, device)
        comparison = work / ("comparison.json" if number == 0 else f"comparison-{number}.json")
        _compare(config, folder, comparison, progress, ran, device)


def _time(
    config: Config, folder: RunFolder, work: Path, progress: Progress, artifacts: list[Artifact], device: str
) -> None:
    log = work / "measurements.jsonl"
    measured = {(line.artifact, line.device_spec) for line in read_json_lines(BenchLine, log)}
    for done, artifact in enumerate(artifacts):
        progress.update(f"timing {artifact.path} on {device}", done, len(artifacts))
        if (artifact.path, device) not in measured:
            path = folder.path / artifact.path
            bench, observer = config.bench, DeviceProgress(progress, done, len(artifacts))
            measurement = device_bench.benchmark(
                path, device=device, spec=bench.spec(), power=bench.power, ops=True, observer=observer
            )
            append_json_line(log, BenchLine(artifact=artifact.path, device_spec=device, measurement=measurement))


def _compare(
    config: Config, folder: RunFolder, target: Path, progress: Progress, artifacts: list[Artifact], device: str
) -> None:
    """Write the comparison of what computes the right thing, if dense does and another one does."""
    right = comparable(artifacts)
    if len(right) < 2 or right[0].variant != "dense":
        progress.update(f"nothing to compare on {device}: it takes dense and one more fp32 file that passed parity")
        return
    progress.update(f"comparing on {device}")
    names = [artifact.path for artifact in right]
    paths = [folder.path / name for name in names]
    write_json(target, device_bench.compare(paths, device=device, spec=config.bench.spec(), names=names))
