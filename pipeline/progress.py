"""How far a command has come: silent by default, a live line on stderr where that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from device_bench.device import Observer


class Progress(Protocol):
    def stage(self, name: str, state: str) -> None:
        """A stage begins, or ended: `state` says how ("done in 12 s", "unchanged")."""

    def update(self, text: str, done: int | None = None, total: int | None = None) -> None:
        """What is going on inside the stage."""


class Silent:
    def stage(self, name: str, state: str) -> None:
        pass

    def update(self, text: str, done: int | None = None, total: int | None = None) -> None:
        pass


class DeviceProgress(Observer):
    """Shows what a device says that it does."""

    def __init__(self, progress: Progress, done: int | None = None, total: int | None = None) -> None:
        self._progress = progress
        self._done = done
        self._total = total

    def doing(self, text: str) -> None:
        self._progress.update(text, self._done, self._total)


class Plain:
    """One line per stage, for logs and for stderr that is no terminal."""

    def stage(self, name: str, state: str) -> None:
        print(f"{name:<10} {state}", file=sys.stderr, flush=True)

    def update(self, text: str, done: int | None = None, total: int | None = None) -> None:
        pass


@contextmanager
def for_stderr() -> Iterator[Progress]:
    """A live progress bar where stderr is a terminal, plain lines elsewhere."""
    if not sys.stderr.isatty():
        yield Plain()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("", total=None)

        class Live:
            def stage(self, name: str, state: str) -> None:
                bars.console.print(f"{name:<10} {state}", highlight=False)
                bars.reset(task, description=name, total=None)

            def update(self, text: str, done: int | None = None, total: int | None = None) -> None:
                bars.update(task, description=text, completed=done or 0, total=total)

        yield Live()
