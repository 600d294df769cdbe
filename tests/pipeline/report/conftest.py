"""One whole run and its report, made once: no test changes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.report import write_report
from tests.pipeline.report.sample_run import SampleRun


@pytest.fixture(scope="session")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return SampleRun(tmp_path_factory.mktemp("runs") / "demo").write()


@pytest.fixture(scope="session")
def report_dir(run_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(run_dir, tmp_path_factory.mktemp("report")).parent
