"""The entry point: names, settings, and what is said when they cannot work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from models.errors import CallableError
from pipeline.config import DataSection
from pipeline.data import load_data, names
from pipeline.errors import DataError


def test_names_are_the_files() -> None:
    assert names() == ("cifar10", "cifar100", "digits", "glyphs", "imagefolder")


def test_names_are_known_without_importing_anything_heavy() -> None:
    code = (
        "import sys; from pipeline import data; print(*data.names()); "
        "print(*{'torch', 'matplotlib', 'sklearn', 'PIL'} & set(sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    first, second = shown.stdout.splitlines()
    assert first.split() == list(names())
    assert second == ""


FAULTS = {
    "unknown name": (
        {"name": "digit"},
        r"no data set 'digit': choose one of cifar10, cifar100, digits, .*module:callable or path/to/file\.py:callable",
    ),
    "too small": ({"image_size": 7}, "image_size: 7 is too small: give at least 8"),
    "unknown option": (
        {"name": "glyphs", "options": {"tain": 5}},
        r"data\.options\.tain: glyphs has no such option; known here: level, test, train, validation",
    ),
    "option where there is none": ({"options": {"x": 1}}, "it has no options: remove it"),
    "count of the wrong kind": ({"name": "glyphs", "options": {"train": "many"}}, r"options\.train: .*\(got 'many'\)"),
    "no images": ({"name": "glyphs", "options": {"test": 0}}, r"options\.test: .*\(got 0\)"),
    "more than memory holds": (
        {"name": "glyphs", "image_size": 5000, "options": {"train": 10_000_000}},
        r"10006000 glyphs of 5000 pixels take \d+\.\d GiB of memory, and .* are free; ask for fewer or smaller",
    ),
    "level too high": ({"name": "glyphs", "options": {"level": 1}}, r"options\.level: .*less than 1 \(got 1\)"),
    "two mistakes": ({"name": "glyphs", "options": {"test": 0, "x": 1}}, r"options\.test: .*\n  data\.options\.x: "),
    "share of nothing": ({"name": "imagefolder", "options": {"validation": 0}}, r"validation: .*greater than 0"),
    "root of digits": ({"root": "here"}, r"data\.root: 'here' is given, but digits .*remove it"),
    "root of glyphs": ({"name": "glyphs", "root": "here"}, r"data\.root: 'here' is given, but glyphs .*remove it"),
    "no root": ({"name": "imagefolder"}, r"data\.root: imagefolder needs the folder"),
    "root absent": ({"name": "imagefolder", "root": "no/such"}, r"data\.root: /.*/no/such is not a folder"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_setting_that_cannot_work_is_one_clear_message(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    section, message = FAULTS[fault]
    with pytest.raises(DataError, match=message):
        load_data(DataSection(**section), seed=0)


def test_a_callable_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CallableError, match="there is no file"):
        load_data(DataSection(name=f"{tmp_path}/absent.py:build"), seed=0)


def test_digits_are_1797_handwritten_ones_in_fair_shares() -> None:
    data = load_data(DataSection(name="digits", image_size=8), seed=0)
    assert (len(data.train), len(data.validation), len(data.test)) == (1100, 300, 397)
    for split in (data.train, data.validation, data.test):
        share = [(split.labels == label).mean() for label in range(10)]
        assert max(share) - min(share) < 0.02
    assert data.train.images().max() == 255
    assert abs(float(data.train.images().float().mean()) / 255 - data.preprocessing.mean[0]) < 0.02
