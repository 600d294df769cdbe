"""What the arguments of `compare` stand for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.contenders import Contenders, find_contenders
from pipeline.errors import ConfigError, DamagedFileError, StorageError
from pipeline.records import Artifact, Evaluation, Parity

EVALUATION = Evaluation(split="test", top1=0.5, top5=None, loss=1.0, n_images=10, ci95=(0.2, 0.8))


def artifact(variant: str, precision: str = "fp32", *, passed: bool | None = True, ran: bool = True) -> Artifact:
    return Artifact(
        variant=variant,
        format="tflite",
        precision=precision,
        path=f"export/{variant}-{precision}.tflite",
        sha256="0" * 64,
        size_bytes=1,
        evaluation=EVALUATION if ran else None,
        parity=Parity(method="litert", max_rel_error=None, top1_agreement=None, n=9, passed=passed, reason="far off"),
        missing={} if ran else {"evaluation": "it gives NaN"},
    )


def run_folder(folder: Path, *artifacts: Artifact) -> Path:
    (folder / "export").mkdir(parents=True)
    (folder / "export" / "artifacts.json").write_text(json.dumps([one.model_dump() for one in artifacts]))
    return folder


def test_a_run_stands_for_its_right_fp32_files_and_says_what_it_leaves_out(tmp_path: Path) -> None:
    run = run_folder(
        tmp_path / "demo",
        artifact("dense"),
        artifact("dense", "int8"),
        artifact("uniform", passed=False),
        artifact("random", ran=False),
        artifact("pruned", passed=None),
    )
    other = tmp_path / "other.tflite"
    found = find_contenders([other, run])
    assert found.paths == (other, run / "export/dense-fp32.tflite", run / "export/pruned-fp32.tflite")
    assert found.names() == ["other.tflite", "dense-fp32.tflite", "pruned-fp32.tflite"]
    assert [line.partition("export/")[2] for line in found.left_out] == [
        "uniform-fp32.tflite: failed parity: far off",
        "random-fp32.tflite: it gives NaN",
    ]


def test_core_ml_packages_are_folders_and_no_runs(tmp_path: Path) -> None:
    package = tmp_path / "dense.mlpackage"
    package.mkdir()
    assert find_contenders([package]).paths == (package,)


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (("x/a.tflite", "x/b.tflite"), ["a.tflite", "b.tflite"]),
        (
            ("r/a/export/m.tflite", "r/b/export/m.tflite", "c.tflite"),
            ["a/m.tflite", "b/m.tflite", "c.tflite"],
        ),
        (("m.tflite", "x/m.tflite"), ["m.tflite", "x/m.tflite"]),
        (("x/m.tflite", "x/m.tflite", "x/m.tflite"), ["m.tflite", "m.tflite (2)", "m.tflite (3)"]),
        (("x/m.tflite", "y/m.tflite", "x/m.tflite"), ["x/m.tflite", "y/m.tflite", "x/m.tflite (2)"]),
    ],
)
def test_names_are_short_and_tell_files_apart(paths: tuple[str, ...], names: list[str]) -> None:
    assert Contenders(tuple(map(Path, paths)), ()).names() == names


@pytest.mark.parametrize(
    ("baseline", "first"), [("2", "b"), ("x/c.tflite", "c"), ("b.tflite", "b"), ("c", "c"), ("1", "a")]
)
def test_the_baseline_is_any_of_them_and_the_others_keep_their_order(baseline: str, first: str) -> None:
    paths = [Path(f"x/{name}.tflite") for name in "abc"]
    found = find_contenders(paths, baseline).paths
    assert found[0].stem == first and found[1:] == tuple(path for path in paths if path.stem != first)


@pytest.mark.parametrize(
    ("baseline", "message"),
    [("d", "'d' is none of the files; give .* 1 x/a.tflite, 2 y/a.tflite"), ("a", "names several"), ("0", "is none")],
)
def test_a_baseline_that_is_none_of_them(baseline: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        find_contenders([Path("x/a.tflite"), Path("y/a.tflite")], baseline)


def test_a_folder_that_is_no_run_or_a_broken_one(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="give a run that has exported, or model files"):
        find_contenders([tmp_path])
    run = run_folder(tmp_path / "a", artifact("dense", passed=False))
    with pytest.raises(StorageError, match="exported no fp32 TFLite file that passed parity"):
        find_contenders([run])
    (run / "export" / "artifacts.json").write_text('{"a": 1}')
    with pytest.raises(DamagedFileError, match="not what a run writes"):
        find_contenders([run])
