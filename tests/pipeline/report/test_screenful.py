from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.report import digest
from tests.pipeline.report.sample_run import STAGES, SampleRun


def test_a_screenful_says_what_came_out_and_how_far_it_can_be_trusted(run_dir: Path) -> None:
    text = digest(run_dir)
    flat = " ".join(text.split())
    assert "Pruned is 4.53\u00d7 faster than dense" in flat and "Accuracy target met" in flat
    assert "Differences below 1.2% cannot be told" in flat
    assert "45 processes counted; 3 were put aside and repeated (busy 2, stolen 1)." in flat
    assert "Rejected, and never rewarded: 2 (busy 2, drifting 1)" in flat
    assert max(map(len, text.splitlines())) <= 80 and text.count("\n") < 40


@pytest.mark.parametrize("until", STAGES[:-1])
def test_a_run_that_stopped_has_one_too(until: str, tmp_path: Path) -> None:
    assert "not exported yet" in digest(SampleRun(tmp_path).write(until)) or until == "export"
