"""Users' own code, looked up where they stand."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import models
from models.callables import resolve
from models.errors import CallableError


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def test_both_forms_and_dotted_names(here: Path) -> None:
    write(here, {"mine/nets.py": "def build():\n    return 7\nclass A:\n    @staticmethod\n    def make(): return 8\n"})
    path = list(sys.path)
    assert resolve("mine.nets:build", "model")() == 7
    assert resolve("mine/nets.py:build", "model")() == 7
    assert resolve(f"{here}/mine/nets.py:A.make", "model")() == 8
    assert sys.path == path


def test_path_is_restored_after_a_failed_import(here: Path) -> None:
    write(here, {"bad_one.py": "raise RuntimeError('boom')"})
    path = list(sys.path)
    for name in ("bad_one:f", "bad_one.py:f"):
        with pytest.raises(CallableError, match=r"importing .*bad_one.* raised RuntimeError: boom"):
            resolve(name, "loss")
    assert sys.path == path


@pytest.mark.parametrize("line", ["from sibling_of_nets import VALUE", "from .sibling_of_nets import VALUE"])
@pytest.mark.parametrize("package", [True, False])
def test_a_file_imports_its_siblings(here: Path, line: str, package: bool) -> None:
    write(here, {"code/nets.py": f"{line}\ndef build(): return VALUE", "code/sibling_of_nets.py": "VALUE = 5"})
    if package:
        write(here, {"code/__init__.py": "from .nets import build"})
    assert resolve("code/nets.py:build", "model")() == 5
    if package:
        assert resolve("code/__init__.py:build", "model")() == 5


def test_installed_modules_and_ours_are_found(here: Path) -> None:
    assert resolve("json:dumps", "evaluation")([1]) == "[1]"
    assert resolve("models.mobilenet_v1:build", "model").__module__ == "models.mobilenet_v1"


@pytest.mark.parametrize("top", ["models", "pipeline", "device_bench"])
@pytest.mark.parametrize("package", [True, False])
def test_a_package_with_our_name_clashes_and_the_file_form_helps(here: Path, top: str, package: bool) -> None:
    write(here, {f"{top}/nets.py": "from .parts import VALUE\ndef build(): return VALUE"})
    write(here, {f"{top}/parts.py": "VALUE = 3"})
    if package:
        write(here, {f"{top}/__init__.py": f"from {top}.nets import build"})
    with pytest.raises(CallableError) as caught:
        resolve(f"{top}.nets:build", "model")
    assert f"{top!r}" in str(caught.value) and "clashes" in str(caught.value)
    assert f"write {top}/nets.py:build instead" in str(caught.value)
    assert resolve(f"{top}/nets.py:build", "model")() == 3
    with pytest.raises(CallableError, match=rf"write {top}/__init__.py:build instead"):
        resolve(f"{top}:build", "model")
    assert "mobilenet_v2" in models.names()


def test_a_module_with_our_name_clashes(here: Path) -> None:
    write(here, {"models.py": "def build(): return 3"})
    with pytest.raises(CallableError, match=r"clashes .* write models\.py:build instead"):
        resolve("models:build", "model")
    assert resolve("models.py:build", "model")() == 3


def test_a_file_that_imports_our_name_is_told_to_import_relatively(here: Path) -> None:
    write(here, {"models/nets.py": "from models.parts import VALUE", "models/parts.py": "VALUE = 3"})
    with pytest.raises(CallableError, match=r"'models\.parts', whose first name belongs to pocketprune; .*relatively"):
        resolve("models/nets.py:build", "model")


def test_a_name_that_python_already_uses_clashes(here: Path) -> None:
    write(here, {"itertools.py": "", "json/__init__.py": "def build(): return 3"})
    with pytest.raises(CallableError, match=r"'json' .* clashes"):
        resolve("json:build", "model")
    assert resolve("json/__init__.py:build", "model")() == 3


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nets", ["module:callable or path/to/file.py:callable"]),
        (":build", ["module:callable"]),
        ("nets:", ["module:callable"]),
        ("code/nets:build", ["must end in .py"]),
        ("missing.py:build", ["no file missing.py"]),
        ("missing_module:build", ["no module 'missing_module'", "path/to/file.py"]),
        ("fine.missing:build", ["no module 'fine.missing'"]),
        ("fine.nets:other", ["has no 'other'", "it defines VALUE, build"]),
        ("fine.nets:VALUE", ["is a int", "function or a class"]),
        ("needs.py:build", ["imports 'not_installed_anywhere'", "install it"]),
        ("needs:build", ["imports 'not_installed_anywhere'", "install it"]),
        ("typo.py:build", ["SyntaxError"]),
        ("exits.py:build", ["SystemExit: 3"]),
        ("fine.nets:build.more", ["has no 'build.more'"]),
        ("..:build", ["'..:build'"]),
    ],
)
def test_mistakes_are_one_message(here: Path, name: str, words: list[str]) -> None:
    write(
        here,
        {
            "fine/nets.py": "VALUE = 1\ndef build(): return VALUE",
            "needs.py": "import not_installed_anywhere",
            "typo.py": "def build(:",
            "exits.py": "import sys; sys.exit(3)",
        },
    )
    with pytest.raises(CallableError) as caught:
        resolve(name, "model")
    assert "model" in str(caught.value)
    for word in words:
        assert word in str(caught.value)
