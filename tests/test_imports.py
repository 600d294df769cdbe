"""Imports point one way, and what the command line loads at once is light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("pipeline", "device_bench", "models")

# A part of the pipeline may import those before it. Place a new part where it belongs.
ORDER = (
    "errors",
    "records",
    "section",
    "search_section",
    "config",
    "intervals",
    "explanations",
    "run_folder",
    "checkpoint",
    "contenders",
    "progress",
    "terminal",
    "provenance",
    "data",
    "pruning",
    "evaluation",
    "training",
    "subject",
    "export",
    "trial",
    "search",
    "report",
    "preflight",
    "stages",
    "flow",
    "reproduce",
    "pipeline",  # pipeline/__init__.py: what `import pipeline` offers
    "options",
    "device_commands",
    "reproduce_command",
    "cli",
)
# Narrower than the order says.
ONLY = {
    "records": {"errors"},
    "section": {"errors"},
    "search_section": {"records", "section"},
    "config": {"errors", "records", "section", "search_section"},
    "explanations": {"records"},
    "report": {"records", "errors", "config", "intervals", "explanations"},
}
HEAVY = {
    "torch",
    "torchvision",
    "torch_pruning",
    "tensorflow",
    "coremltools",
    "onnx",
    "onnx2tf",
    "onnxruntime",
    "ai_edge_litert",
    "ai_edge_quantizer",
    "ray",
    "sklearn",
    "scipy",
    "matplotlib",
    "plotly",
    "gymnasium",
    "stable_baselines3",
}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))}


def imported_by(nodes: Iterator[ast.AST], importer: str, is_package: bool) -> Iterator[str]:
    """Our own modules that these statements import, `from package import submodule` included."""
    for node in nodes:
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = importer.split(".")
            parents = parents[: len(parents) - node.level + is_package] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            names = [f"{base}.{alias.name}" if f"{base}.{alias.name}" in MODULES else base for alias in node.names]
        else:
            continue
        yield from (name for name in names if name.partition(".")[0] in PACKAGES)


def every_import(name: str) -> set[str]:
    path = MODULES[name]
    return set(imported_by(ast.walk(ast.parse(path.read_text())), name, path.name == "__init__.py"))


def imports_at_load(name: str) -> set[str]:
    """Those that run when the module is loaded: not in a function, not for the type checker alone."""

    def statements(body: list[ast.stmt]) -> Iterator[ast.AST]:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
                continue
            yield node
            for part in ("body", "orelse", "finalbody"):
                yield from statements(getattr(node, part, []))

    path = MODULES[name]
    return set(imported_by(statements(ast.parse(path.read_text()).body), name, path.name == "__init__.py"))


def part_of(name: str) -> str:
    return name.split(".")[1] if "." in name else name


@pytest.mark.parametrize("package", ["device_bench", "models"])
def test_leaf_packages_import_only_themselves(package: str) -> None:
    wrong = {
        f"{name} imports {target}"
        for name in MODULES
        for target in every_import(name)
        if name.partition(".")[0] == package and target.partition(".")[0] != package
    }
    assert not wrong


def test_parts_of_the_pipeline_import_only_what_comes_before_them() -> None:
    wrong = set()
    for name in (name for name in MODULES if name.partition(".")[0] == "pipeline"):
        part = part_of(name)
        assert part in ORDER, f"pipeline/{part} has no place in ORDER: put it before the parts that import it"
        allowed = ONLY.get(part, set(ORDER[: ORDER.index(part)])) | {part}
        targets = (target for target in every_import(name) if target.partition(".")[0] == "pipeline")
        wrong |= {f"{name} imports {target}" for target in targets if part_of(target) not in allowed}
    assert not wrong


def test_no_module_needs_itself_to_load() -> None:
    try:
        order = list(TopologicalSorter({name: imports_at_load(name) - {name} for name in MODULES}).static_order())
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(error.args[1])}")
    assert not set(order) - set(MODULES), "imported, and not there"


def test_the_map_in_the_documentation_has_every_part_in_this_order() -> None:
    index = (ROOT / "docs" / "index.md").read_text()
    names = [f"`{part}.py`" if (ROOT / "pipeline" / f"{part}.py").exists() else f"`{part}/`" for part in ORDER]
    places = {name: index.find(name) for name in names if name != "`pipeline/`"}
    assert not [name for name, place in places.items() if place < 0]
    rows = [index.count("\n", 0, index.rfind(name)) for name in places]
    assert rows == sorted(rows)


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_imports_what_is_not_shipped(package: str) -> None:
    absent = {"tests", "benchmarks", "examples"}
    wrong = set()
    for name in (name for name in MODULES if name.partition(".")[0] == package):
        for node in ast.walk(ast.parse(MODULES[name].read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            wrong |= {f"{name} imports {target}" for target in names if target.partition(".")[0] in absent}
    assert not wrong


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["run", "--help"],
        *(["list", kind] for kind in ("models", "data", "agents", "exporters", "devices", "tables")),
    ],
    ids=" ".join,
)
def test_quick_commands_load_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        "from pipeline.cli import main\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as end:\n"
        "    assert not end.code, end.code\n"
        "print('LOADED', *{name.partition('.')[0] for name in sys.modules})\n"
    )
    command = [sys.executable, "-c", code, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False)
    assert result.returncode == 0, result.stderr
    loaded = set(result.stdout.rpartition("LOADED")[2].split())
    assert "pipeline" in loaded
    assert not loaded & HEAVY
