"""The Makefile finds a Python that works, or says what is missing; a second make does nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OLD = 'case "$*" in *version_info*) echo 3.11;; esac'
DEAD = 'echo "pyenv: python3.12: command not found" >&2; exit 127'
# Has no venv module, as Debian's python3 without python3-venv.
BARE = 'case "$*" in *ensurepip*) exit 1;; *version_info*) echo 3.12;; esac'
FUTURE = 'case "$*" in *version_info*) echo 3.14;; esac'


class Machine:
    """A folder with the Makefile, and a PATH that holds what make needs and the Pythons of the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()
        shutil.copy(ROOT / "Makefile", folder)
        shutil.copy(ROOT / "pyproject.toml", folder)
        for tool in ("bash", "make", "rm", "touch"):
            (self.bin / tool).symlink_to(shutil.which(tool) or "")

    def python(self, name: str, script: str) -> Path:
        path = self.folder / name if "/" in name else self.bin / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!{self.bin / 'bash'}\n{script}\n")
        path.chmod(0o755)
        return path

    def working_python(self, name: str) -> Path:
        return self.python(name, f'exec "{sys.executable}" "$@"')

    def make(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": str(self.bin), "HOME": str(self.folder)}
        command = [str(self.bin / "make"), *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=60, check=False
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def chosen(machine: Machine, *arguments: str) -> str:
    """Which Python would make .venv: venv itself is not run, it takes seconds."""
    result = machine.make("-s", "python", *arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_no_python_at_all_is_explained(machine: Machine) -> None:
    result = machine.make(".venv/bin/pip")
    assert result.returncode == 2
    assert "needs Python 3.12 or 3.13" in result.stderr
    assert "python3.12: not found" in result.stderr
    assert "make PYTHON=/path/to/python3.12" in result.stderr
    assert not (machine.folder / ".venv").exists()


def test_every_candidate_that_will_not_do_is_named_with_its_reason(machine: Machine) -> None:
    machine.python("python3.12", DEAD)
    machine.python("python3.13", BARE.replace("3.12", "3.13"))
    machine.python("python3", OLD)
    machine.python(".pyenv/versions/3.12.1/bin/python3", FUTURE)
    result = machine.make("install")
    assert result.returncode == 2
    for reason in (
        "bin/python3.12: does not start",
        "apt-get install python3.13-venv",
        "bin/python3: is Python 3.11",
        "3.12.1/bin/python3: is Python 3.14",
    ):
        assert reason in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("name", ["python3.12", "python3.13", "python3", ".pyenv/versions/3.12.9/bin/python3"])
def test_a_python_that_works_is_found_behind_those_that_do_not(machine: Machine, name: str) -> None:
    for other in {"python3.12", "python3.13", "python3"} - {name}:
        machine.python(other, OLD if other == "python3" else DEAD)
    working = machine.working_python(name)
    assert chosen(machine) == str(working)


def test_a_dead_shim_does_not_hide_the_same_name_further_down_the_path(machine: Machine, tmp_path: Path) -> None:
    machine.python("python3.12", DEAD)
    working = machine.working_python("further/python3.12")
    environment = {"PATH": f"{machine.bin}{os.pathsep}{working.parent}", "HOME": str(tmp_path)}
    command = ["make", "-s", "python"]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert result.stdout.strip() == str(working)


def test_the_one_that_is_named_is_the_only_one_tried(machine: Machine) -> None:
    machine.python("python3.12", DEAD)
    working = machine.working_python("mine/python")
    assert chosen(machine, f"PYTHON={working}") == str(working)
    result = machine.make("python", "PYTHON=python3.12")
    assert result.returncode == 2
    assert "python3.12: does not start" in result.stderr
    assert "python3.13" not in result.stderr


def test_a_second_make_does_nothing_until_pyproject_changes(machine: Machine) -> None:
    log = machine.folder / "log"
    pip = machine.python(".venv/bin/pip", "exit 1")
    machine.python(".venv/bin/python", f'echo "$@" >> {log}')
    assert machine.make("install").returncode == 0
    assert log.read_text().count("pip install") == 1
    assert machine.make("install").returncode == 0
    assert log.read_text().count("pip install") == 1
    os.utime(machine.folder / ".venv" / ".installed", (0, 0))  # pyproject.toml is now the newer one
    assert machine.make("install").returncode == 0
    assert log.read_text().splitlines()[-1].endswith("pip install --disable-pip-version-check -e .")
    assert log.read_text().count("pip install") == 2
    assert pip.exists()


def test_an_installation_that_failed_is_tried_again(machine: Machine) -> None:
    machine.python(".venv/bin/pip", "exit 1")
    machine.python(".venv/bin/python", "exit 1")
    assert machine.make("install").returncode == 2
    assert not (machine.folder / ".venv" / ".installed").exists()


def test_clean_keeps_the_environment_and_the_runs(machine: Machine) -> None:
    (machine.bin / "find").symlink_to(shutil.which("find") or "")
    for kept in (".venv/lib/__pycache__", "runs/demo/__pycache__"):
        (machine.folder / kept).mkdir(parents=True)
    for gone in ("pipeline/__pycache__", "build", ".mypy_cache", "pocketprune.egg-info"):
        (machine.folder / gone).mkdir(parents=True)
    assert machine.make("clean").returncode == 0
    left = {str(path.relative_to(machine.folder)) for path in machine.folder.rglob("*") if path.is_dir()}
    assert {".venv/lib/__pycache__", "runs/demo/__pycache__", "pipeline"} <= left
    assert not left & {"pipeline/__pycache__", "build", ".mypy_cache", "pocketprune.egg-info"}


def test_every_place_names_the_same_pythons() -> None:
    """coremltools 9, ai-edge-litert 2.1.2 and what onnx2tf pins have no wheels for 3.14."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=3.12,<3.14"
    assert "\n    3.12|3.13)\n" in (ROOT / "Makefile").read_text()
    assert "Python 3.12 or 3.13" in (ROOT / "README.md").read_text()
