"""Identity and placing of exported files; an .mlpackage is a folder, and counts as one file here."""

from __future__ import annotations

import hashlib
import shutil
import uuid
from pathlib import Path

from pipeline.run_folder import file_sha256, files_below


def fingerprint(path: Path) -> tuple[str, int]:
    """(sha256, size in bytes); of a folder, sha256 over `<name>\\0<sha256>\\n` of its files in the order of names."""
    if path.is_file():
        return file_sha256(path), path.stat().st_size
    digest, size_bytes = hashlib.sha256(), 0
    for name, file in sorted((file.relative_to(path).as_posix(), file) for file in files_below(path)):
        digest.update(f"{name}\0{file_sha256(file)}\n".encode())
        size_bytes += file.stat().st_size
    return digest.hexdigest(), size_bytes


def place_folder(source: Path, path: Path) -> None:
    """Copy a folder to `path`, where it appears whole or not at all; one that is there is replaced."""
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        shutil.copytree(source, partial)
        shutil.rmtree(path, ignore_errors=True)
        partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
