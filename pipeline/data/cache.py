"""Arrays kept on disk between runs; the cache only ever saves time, so nothing that goes wrong with it is an error."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]


def cache_dir() -> Path:
    """`$XDG_CACHE_HOME/pocketprune`, or `~/.cache/pocketprune`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "pocketprune"


def cached(key: str, shapes: Mapping[str, tuple[int, ...]], make: Callable[[], Arrays]) -> Arrays:
    """The arrays under this key, made and stored if they are absent or damaged.

    Args:
        key: a file name without its ending; it must name everything that the arrays depend on.
        shapes: the arrays' names and shapes; a file that holds something else is replaced.
    """
    path = cache_dir() / f"{key}.npz"
    arrays = _read(path, shapes)
    if arrays is None:
        arrays = make()
        with contextlib.suppress(OSError):  # full or read-only: the next run makes them again
            _write(path, arrays)
    return arrays


def _read(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> Arrays | None:
    """None unless the file is whole: reading a member of a zip file checks its CRC-32."""
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:  # np.load alone leaks a damaged file
            arrays = {name: file[name] for name in file.files}
    except Exception:  # absent, or damaged in any way
        return None
    return arrays if {name: array.shape for name, array in arrays.items()} == dict(shapes) else None


def _write(path: Path, arrays: Arrays) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
        try:
            np.savez(file, allow_pickle=False, **arrays)
            file.flush()
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise
