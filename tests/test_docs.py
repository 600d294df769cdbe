"""The documentation is complete, its examples are valid, its links lead somewhere."""

from __future__ import annotations

import importlib
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel
from typer.main import get_command

from pipeline import data, reproduce
from pipeline.config import Config, validate_config

ROOT = Path(__file__).parents[1]
DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
SHIPPED_TEXT = [
    *DOCS,
    *(ROOT / name for name in ("CHANGELOG.md", "Makefile", "Dockerfile", ".ci/run", "pyproject.toml")),
    *sorted((ROOT / "examples").iterdir()),
]
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text()
COMMANDS = (ROOT / "docs" / "commands.md").read_text()


def configuration_keys(model: type[BaseModel] = Config, prefix: str = "") -> dict[str, Any]:
    """Every key of the configuration, dotted, with its default as JSON would hold it."""
    keys: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            keys |= configuration_keys(field.annotation, f"{prefix}{name}.")
        else:
            default = field.get_default(call_default_factory=True) if not field.is_required() else "required"
            keys[prefix + name] = list(default) if isinstance(default, tuple) else default
    return keys


def documented_keys(text: str) -> dict[str, Any]:
    """Rows `| `key` | `default` | prose |` of the tables whose head says Key."""
    rows = re.findall(r"^\| `([a-z_0-9.]+)` \| (?:`(.+?)`|(required)) \| .{10,} \|$", text, re.MULTILINE)
    return {key: yaml.safe_load(default) if default else "required" for key, default, _ in rows}


def commands(group: Any, prefix: str = "pocketprune") -> dict[str, Any]:
    """Every command of the command line by its full name."""
    found = {}
    for name, command in group.commands.items():
        full = f"{prefix} {name}"
        found |= commands(command, full) if hasattr(command, "commands") else {full: command}
    return found


def code_blocks(path: Path, language: str) -> list[str]:
    """Fenced blocks, those inside lists included."""
    blocks = re.findall(rf"^( *)```{language}\n(.*?)^\1```", path.read_text(), re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(text) for _, text in blocks]


def test_configuration_md_has_every_key_with_its_default() -> None:
    keys = configuration_keys()
    documented = {
        key: value for key, value in documented_keys(CONFIGURATION).items() if not key.startswith("data.options.")
    }
    assert documented == keys


@pytest.mark.parametrize("name", data.names())
def test_configuration_md_has_every_data_set_with_its_options(name: str) -> None:
    options = importlib.import_module(f"pipeline.data.sets.{name}").Options
    section = CONFIGURATION.partition(f"### `{name}`")[2].partition("\n## ")[0].partition("\n### ")[0]
    assert section, f"docs/configuration.md has no section '### `{name}`'"
    expected = {f"data.options.{key}": value for key, value in configuration_keys(options).items()}
    assert documented_keys(section) == expected


def test_commands_md_has_every_command_with_its_options() -> None:
    from pipeline.cli import app

    found = commands(get_command(app))
    assert "pocketprune run" in found
    for name, command in found.items():
        section = COMMANDS.partition(f"## `{name}")[2].partition("\n## ")[0]
        assert section, f"docs/commands.md has no section '## `{name} ...`'"
        options = [option for parameter in command.params for option in parameter.opts if option.startswith("--")]
        missing = [option for option in options if f"`{option}" not in section and option != "--help"]
        assert not missing, f"docs/commands.md, {name}: {missing}"


def test_commands_md_has_no_command_that_is_gone() -> None:
    from pipeline.cli import app

    documented = re.findall(r"^## `(pocketprune(?: [a-z-]+)+)(?= [A-Z]|`)", COMMANDS, re.MULTILINE)
    assert set(documented) == set(commands(get_command(app)))


def test_exit_codes_are_those_of_the_errors() -> None:
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", CONFIGURATION, re.MULTILINE)}
    assert codes == {0, 1, 2, 3, 4, 5, 130}
    for module in ("pipeline.errors", "device_bench.errors", "models.errors"):
        for value in vars(importlib.import_module(module)).values():
            if isinstance(value, type) and issubclass(value, Exception):
                assert vars(value).get("exit_code", 1) in codes


def test_the_readme_shows_how_to_slim_a_network_of_ones_own() -> None:
    assert any("own_net.py:build" in block for block in code_blocks(ROOT / "README.md", "yaml"))


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) < 200


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_yaml_in_the_documentation_is_a_valid_configuration(path: Path) -> None:
    for block in code_blocks(path, "yaml"):
        config = validate_config({"name": "x", **yaml.safe_load(block)}, path.name)
        assert config.name


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_python_in_the_documentation_imports_what_exists(path: Path) -> None:
    for block in code_blocks(path, "python"):
        compile(block, path.name, "exec")
        for module, names in re.findall(r"^from (\w[\w.]*) import (.+)$", block, re.MULTILINE):
            for name in names.split(","):
                assert hasattr(importlib.import_module(module), name.strip()), f"{path.name}: {module}.{name}"


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    targets = re.findall(r"\]\((?!https?://)([^)#]+)", path.read_text())
    missing = [target for target in targets if not (path.parent / target).exists()]
    assert not missing


def test_index_md_maps_every_page_and_every_package() -> None:
    index = (ROOT / "docs" / "index.md").read_text()
    tables = ROOT / "docs" / "results" / "reproduce"  # reproduce.md leads to these
    pages = [str(p.relative_to(ROOT / "docs")) for p in DOCS[1:] if p.name != "index.md" and p.parent != tables]
    packages = [f"`{folder}/`" for folder in ("pipeline", "device_bench", "models", "tests", "benchmarks")]
    assert [page for page in pages if f"({page})" not in index] == []
    assert [package for package in packages if package not in index] == []


def test_reproduce_md_has_every_table_and_leads_to_every_result() -> None:
    text = (ROOT / "docs" / "reproduce.md").read_text()
    assert [name for name in reproduce.names() if f"| `{name}` |" not in text] == []
    results = sorted((ROOT / "docs" / "results" / "reproduce").glob("*.md"))
    assert [path.name for path in results if f"(results/reproduce/{path.name})" not in text] == []


@pytest.mark.parametrize("path", SHIPPED_TEXT, ids=lambda path: path.name)
def test_no_path_of_one_machine(path: Path) -> None:
    if path.suffix in {".png", ".pyc"} or path.is_dir():
        return
    text = path.read_text()
    places = [str(ROOT), *([f"{Path.home()}/"] if Path.home() != Path("/") else [])]
    assert not [place for place in places if place in text]
