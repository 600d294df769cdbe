"""The workflows for GitHub's machines, as far as they can be checked elsewhere."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / "examples" / "github_workflows").glob("*.yaml"))


def steps(path: Path) -> list[dict[str, Any]]:
    jobs = yaml.safe_load(path.read_text())["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


def our_commands(path: Path) -> Iterator[list[str]]:
    lines = [line for step in steps(path) for line in step.get("run", "").splitlines()]
    return (shlex.split(line)[1:] for line in lines if line.startswith("pocketprune "))


def test_there_is_one_for_macos() -> None:
    assert "macos.yaml" in [path.name for path in WORKFLOWS]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_it_is_a_workflow(path: Path) -> None:
    text = yaml.safe_load(path.read_text())
    assert text["name"] and text.get(True, text.get("on"))  # YAML 1.1 takes the bare word `on` for a boolean
    assert all(job["runs-on"] and job["timeout-minutes"] for job in text["jobs"].values())
    assert all(("uses" in step) != ("run" in step) for step in steps(path))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_its_commands_are_ours(path: Path) -> None:
    from pipeline.cli import app

    group: Any = get_command(app)
    called = list(our_commands(path))
    assert called
    for name, *arguments in called:
        group.commands[name].make_context(name, list(arguments))  # an unknown option is an error
