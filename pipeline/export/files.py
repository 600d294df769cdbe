"""Placing of exported folders; an .mlpackage is one."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path


def place_folder(source: Path, path: Path) -> None:
    """Copy a folder to `path`, where it appears whole or not at all; one that is there is replaced."""
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        shutil.copytree(source, partial)
        shutil.rmtree(path, ignore_errors=True)
        partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
