"""What a cell is given: its settings, a folder, and what it shares with other cells and tables."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config import Config
from pipeline.progress import Progress
from pipeline.reproduce.store import locked
from pipeline.reproduce.table import Cell, Results
from pipeline.run_folder import RunFolder, hash_json, writing
from pipeline.section import Section

if TYPE_CHECKING:
    from pipeline.subject import Subject


@dataclass(frozen=True)
class Context[S: Section]:
    """See the docstring of `pipeline.reproduce` for how a table uses it."""

    settings: S
    folder: Path
    progress: Progress
    work: Path
    """What outlives the cell; one folder for all tables and scales."""
    finished: Callable[[Cell], Results | None]
    """What another cell of the table found; None where it has not been run yet."""

    def subject(self, config: Config) -> Subject:
        """The configuration's dense network, trained by the first cell that asks for it, with its data and groups.

        `config.pruning` may differ between cells that share a network; its name does not matter.
        """
        from pipeline.stages import baseline
        from pipeline.subject import Subject

        folder = self._folder(f"baseline-{config.model.name}-{config.data.name}-{config.seed}", baseline.inputs(config))

        def train(partial: Path) -> None:
            self.progress.update(f"training {config.model.name} on {config.data.name}, seed {config.seed}")
            baseline.run(config, folder, partial, self.progress)

        with locked(folder.path):
            folder.run_stage("baseline", hash_json(baseline.inputs(config)), train, renewable=True)
        return Subject(config, folder.stage("baseline") / "model.safetensors")

    def shared(self, name: str, inputs: Any, build: Callable[[Path], None]) -> Path:
        """A folder that `build` fills once for the same name and inputs; other processes wait for it.

        A build that was killed finds what it had written in the folder that it is given again; a folder that was
        damaged since is built again.

        Args:
            inputs: plain JSON of all that the content depends on.
        """
        folder = self._folder(name, inputs)
        with locked(folder.path):
            folder.run_stage(name, hash_json(inputs), build, renewable=True)
        return folder.stage(name)

    def _folder(self, name: str, inputs: Any) -> RunFolder:
        return RunFolder(self.work / "shared" / f"{_plain(name)}-{hash_json(inputs)[:12]}")


def make_folder(path: Path) -> Path:
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


def _plain(name: str) -> str:
    """The name without what a path would take for its own."""
    return re.sub(r"[^\w.-]+", "_", name)[-60:]
