"""Users' own code by name: `module:callable` or `path/to/file.py:callable`, looked up where they stand."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from models.errors import CallableError

OURS = ("models", "pipeline", "device_bench")
"""The import names of this distribution, which users' packages may have as well."""


def resolve(name: str, what: str) -> Callable[..., Any]:
    """Import the callable that `name` stands for.

    During the import the working directory (and the folder of a file) come first on `sys.path`.

    Args:
        name: `module:callable` or `path/to/file.py:callable`; the callable may be dotted (`Class.method`).
        what: what it is for, as the message calls it: model, data, loss, evaluation.

    Raises:
        CallableError: not there, not callable, its import raised, or its module's name is taken.
    """
    place, separator, attribute = name.rpartition(":")
    if not separator or not place or not attribute:
        raise CallableError(f"{what} {name!r}: write module:callable or path/to/file.py:callable")
    if place.endswith(".py"):
        module = _import_file(Path(place), name, what)
    elif "/" in place or "\\" in place:
        raise CallableError(f"{what} {name!r}: a path must end in .py, as in path/to/file.py:{attribute}")
    else:
        module = _import_module(place, attribute, what)
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            public = ", ".join(key for key in vars(module) if not key.startswith("_")) or "nothing"
            raise CallableError(f"{what} {name!r}: {place} has no {attribute!r}; it defines {public}")
        found = getattr(found, part)
    if not callable(found):
        raise CallableError(f"{what} {name!r}: is a {type(found).__name__}; name a function or a class")
    result: Callable[..., Any] = found
    return result


def _import_module(place: str, attribute: str, what: str) -> ModuleType:
    name = f"{place}:{attribute}"
    here = Path.cwd()
    importlib.invalidate_caches()
    theirs = PathFinder.find_spec(place.partition(".")[0], [str(here)])
    if theirs is not None and _is_taken(theirs):
        raise CallableError(
            f"{what} {name!r}: the name {theirs.name!r} in {here} clashes with a module that Python already uses; "
            f"write {_file_of(place, here)}:{attribute} instead"
        )
    with _first_on_path(here), _explained(place, name, what):
        return importlib.import_module(place)


def _import_file(path: Path, name: str, what: str) -> ModuleType:
    path = path.expanduser()
    if not path.is_file():
        raise CallableError(f"{what} {name!r}: there is no file {path} (looked up from {Path.cwd()})")
    path = path.resolve()
    with _first_on_path(Path.cwd()), _first_on_path(path.parent), _explained(str(path), name, what):
        if path.name == "__init__.py":
            return _load(path, _private_name(path))
        return _load(path, f"{_package_of(path.parent)}.{path.stem}")


def _private_name(path: Path) -> str:
    """A module name that nobody else uses."""
    return f"pocketprune_user_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"


def _package_of(folder: Path) -> str:
    """Make the folder a package, so that its files can import each other relatively.

    Its `__init__.py` is not run: where that imports the package by its public name, it would get ours or none.
    """
    name = _private_name(folder)
    if name not in sys.modules:
        package = ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package
    return name


def _load(path: Path, module_name: str) -> ModuleType:
    if module_name in sys.modules:
        return sys.modules[module_name]
    search = [str(path.parent)] if path.name == "__init__.py" else None
    spec = spec_from_file_location(module_name, path, submodule_search_locations=search)
    assert spec is not None and spec.loader is not None, "a path that ends in .py always has a loader"
    module = module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[module_name]
        raise
    return module


def _is_taken(theirs: ModuleSpec) -> bool:
    """Whether `import NAME` gives another module than the one in the working directory, or must do so."""
    loaded = sys.modules.get(theirs.name)
    if loaded is not None:
        return _locations(getattr(loaded, "__spec__", None)).isdisjoint(_locations(theirs))
    if theirs.name not in OURS:
        return False
    return _locations(PathFinder.find_spec(theirs.name, [str(Path(__file__).parents[1])])).isdisjoint(
        _locations(theirs)
    )


def _locations(spec: ModuleSpec | None) -> set[Path]:
    if spec is None:
        return set()
    places = list(spec.submodule_search_locations or []) or [spec.origin or ""]
    return {Path(place).resolve() for place in places}


def _file_of(place: str, here: Path) -> str:
    """The file that a dotted module name stands for, relative to the working directory."""
    base = here.joinpath(*place.split("."))
    return str(((base / "__init__.py") if base.is_dir() else base.with_suffix(".py")).relative_to(here))


@contextlib.contextmanager
def _first_on_path(folder: Path) -> Iterator[None]:
    before = list(sys.path)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path[:] = before


@contextlib.contextmanager
def _explained(place: str, name: str, what: str) -> Iterator[None]:
    """Turn whatever an import raises into one message; SystemExit is what a script without a main guard may raise."""
    try:
        yield
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if place == missing or place.startswith(missing + "."):
            text = f"there is no module {missing!r} in {Path.cwd()} or installed; or write path/to/file.py:callable"
        elif missing.partition(".")[0] in OURS:
            text = (
                f"it imports {missing!r}, whose first name belongs to pocketprune; "
                f"import it relatively (from . import ...) and write path/to/file.py:callable"
            )
        else:
            text = f"it imports {missing!r}, which is not there; install it or correct the import"
        raise CallableError(f"{what} {name!r}: {text}") from error
    except (Exception, SystemExit) as error:
        raise CallableError(f"{what} {name!r}: importing {place} raised {type(error).__name__}: {error}") from error
