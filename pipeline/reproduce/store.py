"""The finished cells of a table, one line each; several processes may add to them at once."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.reproduce.table import Cell, FinishedCell
from pipeline.run_folder import append_json_line, hash_json, read_json_lines, writing


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep every other process out until the block ends; wait for the one that is in. A killed one lets go by itself.

    Args:
        path: a folder that is there.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextmanager
def locked_if_free(path: Path) -> Iterator[bool]:
    """Whether this process has the folder to itself until the block ends; False at once where another has it."""
    handle = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(handle)


@dataclass(frozen=True)
class Store:
    """`OUT/<table>-<scale>.jsonl`: what is committed, and all that a table is rendered from."""

    path: Path

    def finished(self) -> list[FinishedCell]:
        """The latest line of every cell and settings; half a last line, which a kill left, is cut off.

        Raises:
            DamagedFileError: a line is not a finished cell.
        """
        if not self.path.exists():
            return []
        with writing(self.path), locked(self.path.parent):
            lines = read_json_lines(FinishedCell, self.path)
        return list({(identity(line.cell), line.settings_sha256): line for line in lines}.values())

    def add(self, line: FinishedCell) -> None:
        """Append the line; it is on the disk when this returns.

        Raises:
            StorageError: it cannot be written.
        """
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with locked(self.path.parent):
                read_json_lines(FinishedCell, self.path)  # cuts half a line off, which would spoil this one
                append_json_line(self.path, line)


def identity(cell: Cell) -> str:
    return hash_json(dict(cell))
