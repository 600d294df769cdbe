"""Turn what is stored into one HTML page, JSON, Markdown and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.config import Config
from pipeline.progress import Progress
from pipeline.report import write_report
from pipeline.run_folder import RunFolder


def inputs(config: Config) -> Any:
    return []


def run(config: Config, folder: RunFolder, work: Path, progress: Progress) -> None:
    write_report(folder.path, work)
