"""A run on disk: stages that appear whole or not at all, input hashes, resume.

A stage works in `<stage>.partial/` and is renamed to `<stage>/` when its `done.json` is written. `done.json` holds the
hash of its inputs (its part of the configuration and the upstream stages' hashes) and of every file that it wrote, so
a second run knows what is done, what has changed, and what has been damaged.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from pipeline.errors import DamagedFileError, StorageError
from pipeline.records import Record

MEASURED = "measured"
"""The folder of what searches measured, beside those of the stages; one in it for each network."""


class DoneStage(Record):
    """A stage's `done.json`; `outputs` are SHA-256 by path inside the stage folder, `seconds` of the last attempt."""

    stage: str
    inputs: str
    seconds: float
    outputs: dict[str, str]

    def digest(self) -> str:
        """What stages downstream hash: the same inputs and the same files give the same digest."""
        return hash_json({"inputs": self.inputs, "outputs": self.outputs})


class RunFolder:
    """`runs/<name>/`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with writing(path):
            path.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other process out of this run until the block ends; a killed process lets go by itself.

        Raises:
            StorageError: another process is working in it.
        """
        with writing(self.path), (self.path / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise StorageError(
                    f"{self.path}: another process is working in this run folder; wait for it, or give --run-dir"
                ) from error
            yield

    def stage(self, name: str) -> Path:
        return self.path / name

    def command(self) -> str:
        """The command that runs what is left of this run."""
        return f"pocketprune run {shlex.quote(str(self.path / 'config.yaml'))} --run-dir {shlex.quote(str(self.path))}"

    def done(self, name: str) -> DoneStage | None:
        """What the finished stage recorded, or None if it is not finished.

        Raises:
            DamagedFileError: a file of the stage is missing or is not what the stage wrote.
        """
        done = self.read_note(name)
        if done is None:
            return None
        for relative, digest in done.outputs.items():
            file = self.stage(name) / relative
            if not file.is_file() or file_sha256(file) != digest:
                raise self._damaged(name, file)
        return done

    def read_note(self, name: str) -> DoneStage | None:
        """Like `done`, without a look at the stage's other files."""
        note = self.stage(name) / "done.json"
        if not note.exists():
            return None
        try:
            return DoneStage.model_validate_json(note.read_text())
        except (ValidationError, UnicodeDecodeError) as error:
            raise self._damaged(name, note) from error

    def run_stage(
        self, name: str, inputs: str, work: Callable[[Path], None], *, fresh: bool = False, renewable: bool = False
    ) -> DoneStage:
        """Run `work(folder)` unless the stage is done with these inputs; a killed one goes on in its partial folder.

        Args:
            name: the stage.
            inputs: the hash of what the stage depends on.
            work: does the stage in the folder that it is given.
            fresh: work even if the stage is done.
            renewable: the stage costs little, so that damage to it is mended by working again.

        Raises:
            DamagedFileError: the stage is done with these inputs, and a file of it is not what it wrote.
        """
        if not fresh and (done := self._kept(name, inputs, renewable)):
            return done
        partial = self.path / f"{name}.partial"
        with writing(partial):
            if not fresh and (finished := self._finished(partial)) and finished.inputs == inputs:
                return self._publish(name, partial, finished)
            note = partial / "inputs.json"
            if fresh or not note.exists() or note.read_text() != inputs:
                shutil.rmtree(partial, ignore_errors=True)
                partial.mkdir(parents=True)
                write_text(note, inputs)
            started = time.monotonic()
            work(partial)
            outputs = {
                str(file.relative_to(partial)): file_sha256(file) for file in files_below(partial) if file != note
            }
            done = DoneStage(stage=name, inputs=inputs, seconds=time.monotonic() - started, outputs=outputs)
            write_json(partial / "done.json", done)
            return self._publish(name, partial, done)

    def _kept(self, name: str, inputs: str, renewable: bool) -> DoneStage | None:
        """The stage's note if it was done with these inputs; only then do its other files matter, and are looked at."""
        try:
            note = self.read_note(name)
            return self.done(name) if note and note.inputs == inputs else None
        except DamagedFileError:
            if renewable:
                return None
            raise

    def _finished(self, partial: Path) -> DoneStage | None:
        """The note of a stage that was killed after its work and before its last rename."""
        try:
            return DoneStage.model_validate_json((partial / "done.json").read_text())
        except (OSError, ValidationError):
            return None

    def _publish(self, name: str, partial: Path, done: DoneStage) -> DoneStage:
        """Put the finished folder in the place of the old one; a kill between any two lines is made good next time."""
        final, old = self.stage(name), self.path / f"{name}.old"
        (partial / "inputs.json").unlink(missing_ok=True)
        if final.exists():
            shutil.rmtree(old, ignore_errors=True)
            final.rename(old)
        partial.rename(final)
        shutil.rmtree(old, ignore_errors=True)
        return done

    def _damaged(self, stage: str, file: Path) -> DamagedFileError:
        return DamagedFileError(
            f"{file}: not what the {stage} stage wrote (missing, cut short or changed); to rebuild it and what depends "
            f"on it, remove {self.stage(stage)} and run `{self.command()}`"
        )


_STORAGE_ERRORS = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "the disk quota is used up; free some space",
    errno.EROFS: "it is on a read-only file system; give --run-dir a folder that can be written",
    errno.EACCES: "it cannot be written by this user; give --run-dir a folder that can be written",
    errno.EPERM: "it cannot be written by this user; give --run-dir a folder that can be written",
    errno.ENOENT: "it is not there, or the folder that it belongs in is not; put it back, or make the folder",
    errno.ENOTDIR: "a part of this path is a file; give --run-dir a folder",
    errno.EEXIST: "a part of this path is a file; give --run-dir a folder",
    errno.ENAMETOOLONG: "the path is too long; give a shorter name or --run-dir",
}


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what a disk can do to a write below `path` into a StorageError; nothing that was complete is lost."""
    try:
        yield
    except OSError as error:
        remedy = _STORAGE_ERRORS.get(error.errno or 0)
        if remedy is None:
            raise
        raise StorageError(f"{error.filename or path}: {remedy} and run again: what is done is kept") from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write the file whole or not at all."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write a record, a list of records or plain values as indented JSON."""
    write_text(path, json.dumps(to_plain(value), indent=2, allow_nan=False) + "\n")


def append_json_line(path: Path, value: Any) -> None:
    """Append one line and flush it to the disk before returning."""
    with path.open("a") as file:
        file.write(json.dumps(to_plain(value), allow_nan=False) + "\n")
        file.flush()
        os.fsync(file.fileno())


def read_json_lines[R: BaseModel](record: type[R], path: Path) -> list[R]:
    """The complete lines of a log; a last line that a kill cut short was never acknowledged, and is cut off the file.

    Raises:
        DamagedFileError: a complete line does not hold this record.
    """
    if not path.exists():
        return []
    content = path.read_bytes()
    complete = content[: content.rfind(b"\n") + 1]
    if len(complete) < len(content):
        write_bytes(path, complete)
    records = []
    for number, line in enumerate(complete.splitlines(), 1):
        try:
            records.append(record.model_validate_json(line))
        except ValidationError as error:
            raise DamagedFileError(
                f"{path}, line {number}: not a {record.__name__}; remove the file to do this stage again"
            ) from error
    return records


def to_plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, dict):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    return value


def hash_json(value: Any) -> str:
    return hashlib.sha256(json.dumps(to_plain(value), sort_keys=True).encode()).hexdigest()


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_below(folder: Path) -> Iterable[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
