"""What the bench stage times and compares, on a fake device whose latency is the file's size."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.config import validate_config
from pipeline.records import Artifact, Evaluation, Parity
from pipeline.run_folder import RunFolder
from pipeline.stages import bench
from tests.pipeline.tiny_run import tiny_config

GOOD, WRONG, DEAD = "good", "failed parity", "did not run"


class Said:
    def __init__(self) -> None:
        self.texts: list[str] = []

    def stage(self, name: str, state: str) -> None:
        pass

    def update(self, text: str, done: int | None = None, total: int | None = None) -> None:
        self.texts.append(text)


def exported(folder: Path, variant: str, precision: str, state: str) -> Artifact:
    """An artifact in the state; the file of one that did not run is not there, so that timing it is an error."""
    path = f"export/{variant}-{precision}.tflite"
    if state != DEAD:
        (folder / path).write_bytes(b"x" * 1000)
    return Artifact(
        variant=variant,
        format="tflite",
        precision=precision,
        path=path,
        sha256="0" * 64,
        size_bytes=1000,
        evaluation=None
        if state == DEAD
        else Evaluation(split="test", top1=0.5, top5=None, loss=1.0, n_images=10, ci95=(0.2, 0.8)),
        parity=Parity(
            method="litert",
            max_rel_error=None,
            top1_agreement=None,
            n=0,
            passed=state == GOOD,
            reason="as the test says",
        ),
    )


@pytest.mark.parametrize(
    ("states", "timed", "compared"),
    [
        ({"dense-fp32": GOOD, "pruned-fp32": GOOD}, ["dense-fp32", "pruned-fp32"], ["pruned-fp32"]),
        (
            {"dense-fp32": GOOD, "pruned-fp32": GOOD, "pruned-int8": DEAD},
            ["dense-fp32", "pruned-fp32"],
            ["pruned-fp32"],
        ),
        (
            {"dense-fp32": GOOD, "uniform-fp32": WRONG, "pruned-fp32": GOOD},
            ["dense-fp32", "uniform-fp32", "pruned-fp32"],
            ["pruned-fp32"],
        ),
        (
            {"dense-fp32": GOOD, "uniform-fp32": DEAD, "pruned-fp32": GOOD},
            ["dense-fp32", "pruned-fp32"],
            ["pruned-fp32"],
        ),
        ({"dense-fp32": DEAD, "pruned-fp32": GOOD, "uniform-fp32": GOOD}, ["pruned-fp32", "uniform-fp32"], None),
        ({"dense-fp32": WRONG, "pruned-fp32": GOOD}, ["dense-fp32", "pruned-fp32"], None),
        ({"dense-fp32": GOOD, "pruned-fp32": WRONG}, ["dense-fp32", "pruned-fp32"], None),
    ],
)
def test_only_what_ran_is_timed_and_only_what_is_right_is_compared(
    tmp_path: Path, states: dict[str, str], timed: list[str], compared: list[str] | None
) -> None:
    folder, work, said = RunFolder(tmp_path), tmp_path / "bench.partial", Said()
    (tmp_path / "export").mkdir()
    work.mkdir()
    artifacts = [exported(tmp_path, *name.split("-"), state).model_dump() for name, state in states.items()]
    (tmp_path / "export" / "artifacts.json").write_text(json.dumps(artifacts))
    bench.run(validate_config(tiny_config()), folder, work, said)
    lines = [json.loads(line) for line in (work / "measurements.jsonl").read_text().splitlines()]
    assert [Path(line["artifact"]).stem for line in lines] == timed
    # The device was asked for times of operations, and has none.
    assert all("gives no times" in line["measurement"]["missing"]["ops"] for line in lines)
    if compared is None:
        assert not (work / "comparison.json").exists()
        assert any("nothing to compare" in text for text in said.texts)
    else:
        comparisons = json.loads((work / "comparison.json").read_text())["comparisons"]
        assert {one["baseline"] for one in comparisons} == {"export/dense-fp32.tflite"}
        assert [Path(one["candidate"]).stem for one in comparisons] == compared
