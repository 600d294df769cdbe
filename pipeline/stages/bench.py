"""Time every exported TFLite file on every device, then the fp32 variants interleaved against the dense one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import device_bench
from pipeline.config import Config
from pipeline.progress import Progress
from pipeline.records import Artifact, BenchLine
from pipeline.run_folder import RunFolder, append_json_line, read_json_lines, write_json


def inputs(config: Config) -> Any:
    return [config.bench, config.device_specs()]


def run(config: Config, folder: RunFolder, work: Path, progress: Progress) -> None:
    listed = json.loads((folder.stage("export") / "artifacts.json").read_text())
    artifacts = [artifact for artifact in map(Artifact.model_validate, listed) if artifact.format == "tflite"]
    log = work / "measurements.jsonl"
    measured = {(line.artifact, line.device_spec) for line in read_json_lines(BenchLine, log)}
    spec = config.bench.spec()
    for number, device in enumerate(config.device_specs()):
        for done, artifact in enumerate(artifacts):
            progress.update(f"timing {artifact.path} on {device}", done, len(artifacts))
            if (artifact.path, device) not in measured:
                measurement = device_bench.benchmark(folder.path / artifact.path, device=device, spec=spec)
                line = BenchLine(artifact=artifact.path, device_spec=device, measurement=measurement)
                append_json_line(log, line)
        progress.update(f"comparing on {device}")
        paths = [artifact.path for artifact in artifacts if artifact.precision == "fp32"]
        comparison = device_bench.compare([folder.path / path for path in paths], device=device, spec=spec, names=paths)
        write_json(work / ("comparison.json" if number == 0 else f"comparison-{number}.json"), comparison)
