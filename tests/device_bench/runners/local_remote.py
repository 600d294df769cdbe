"""A Remote that is this machine: jobs are processes, and everything lies under one folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from device_bench.process import run_to_end
from device_bench.shell import Finished


class LocalRemote:
    def __init__(self, folder: Path, path: str | None = None) -> None:
        self.folder = folder
        self.commands: list[list[str]] = []
        self.environment = {"PATH": path or os.environ["PATH"]}

    def run(self, argv: Sequence[str], timeout_s: float = 20.0) -> Finished:
        return run_to_end(argv[0], ["sh", "-c", '"$@"', "sh", *argv], timeout_s, self.environment)

    def cached(self, source: Path, suffix: str = "") -> str:
        content = source.read_bytes()
        return self._put(self.folder / f"cache-{hashlib.sha256(content).hexdigest()}{suffix}", content)

    def push(self, source: Path | bytes, target: str, mode: int = 0o644) -> bool:
        self._put(Path(target), source if isinstance(source, bytes) else source.read_bytes())
        return True

    def pull(self, path: str) -> bytes:
        return Path(path).read_bytes()

    def start(self, argv: Sequence[str], folder: str, stdin: str = "", name: str = "job") -> list[str]:
        self.commands.append(list(argv))
        (Path(folder) / name).mkdir()
        return list(argv)

    def collect(self, job: Any, timeout_s: float) -> Finished:
        return run_to_end("the job", ["sh", "-c", '"$@"', "sh", *job], timeout_s, self.environment)

    def stop(self, job: Any) -> None:
        """`collect` has ended it already."""

    @staticmethod
    def _put(path: Path, content: bytes) -> str:
        path.write_bytes(content)
        return str(path)
