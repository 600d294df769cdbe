"""Plans to TFLite files, as a search asks for them: hundreds of candidates of one dense network."""

from __future__ import annotations

import functools
import logging
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from torch import nn

from pipeline.errors import ExportError
from pipeline.export.quick import TfliteConverter
from pipeline.export.slim_rules import NotSlimmableError, Positions
from pipeline.pruning.channels import Scores, make_plan, rebuild, removed_positions
from pipeline.pruning.groups import ChannelGroup
from pipeline.records import Architecture, PruningPlan
from pipeline.run_folder import write_bytes, writing

if TYPE_CHECKING:
    from pipeline.export.slim import TfliteSlimmer

TOLERANCE = 1e-5
"""Of the largest logit, between the file that was cut and the one that was exported."""

logger = logging.getLogger(__name__)


class CandidateExporter:
    """Exports one network with fewer channels: cut out of the dense file, in milliseconds.

    Before the first candidate the cut is tried on a random plan against the export of the rebuilt network: the same
    operations, shapes and logits. Where it gives anything else, or where no rule follows a plan, candidates are rebuilt
    and exported in full, a second each, and the log says why.

    Args:
        converter: makes the dense file, the file that the cut is compared with, and candidates in full.
        network: the dense one; it must stay as it is.
        groups: those that may be pruned.
        scores: which of a group's channels are kept, see `make_plan`.
        input_shape: (C, H, W) of one image.
    """

    def __init__(
        self,
        converter: TfliteConverter,
        network: nn.Module,
        groups: Sequence[ChannelGroup],
        scores: Scores,
        input_shape: tuple[int, int, int],
    ) -> None:
        self._converter = converter
        self._network = network
        self._groups = groups
        self._scores = scores
        self._input_shape = input_shape

    def export(self, keep_counts: Mapping[str, int], path: Path) -> Path:
        """Write the fp32 TFLite file of the network that keeps the strongest channels, so many of each group.

        Args:
            keep_counts: by the group's name; groups that are left out stay whole.
            path: the file to write; it appears whole or not at all.

        Raises:
            ExportError: the network cannot be exported; the text names the stage.
            StorageError: the file cannot be written.
        """
        return self.submit(keep_counts, path).result()

    def submit(self, keep_counts: Mapping[str, int], path: Path) -> Future[Path]:
        """Like `export`, but a conversion in full goes on in the next idle worker after it returns."""
        plan = self._plan(keep_counts, self._scores)
        try:
            content = self._cut(plan)
        except NotSlimmableError as error:
            logger.warning("%s is exported in full: %s", path.name, error)
            content = None
        if content is None:
            return self._converter.submit(self._rebuilt(plan), self._input_shape, path)
        with writing(path):
            write_bytes(path, content)
        done: Future[Path] = Future()
        done.set_result(path)
        return done

    @property
    def in_full_because(self) -> str | None:
        """Why every candidate is exported in full; None where they are cut."""
        return self._dense.problem

    def _cut(self, plan: PruningPlan) -> bytes | None:
        if not plan.groups:
            return self._dense.content
        slimmer = self._dense.slimmer
        return None if slimmer is None else slimmer.slim(self._written(plan))

    def _plan(self, keep_counts: Mapping[str, int], scores: Scores) -> PruningPlan:
        architecture = Architecture(name="candidate", num_classes=1, image_size=self._input_shape[1])
        return make_plan(architecture, self._groups, keep_counts, scores, {})

    def _rebuilt(self, plan: PruningPlan) -> nn.Module:
        return rebuild(self._network, self._groups, plan)

    def _written(self, plan: PruningPlan) -> dict[str, Positions]:
        """The output channels that stay, by layer."""
        written = {}
        for (name, axis), removed in removed_positions(self._groups, plan).items():
            layer = self._network.get_submodule(name)
            if axis == "out" and isinstance(layer, nn.Conv2d | nn.Linear):
                written[name] = np.delete(np.arange(layer.weight.shape[0]), removed)
        return written

    @functools.cached_property
    def _dense(self) -> _Dense:
        with tempfile.TemporaryDirectory(prefix="pocketprune-") as name:
            folder = Path(name)
            content = self._converter.convert(self._network, self._input_shape, folder / "dense.tflite").read_bytes()
            try:
                return _Dense(content, self._proven(content, folder), None)
            except (NotSlimmableError, ExportError) as error:
                logger.warning("candidates are exported in full, a second each: %s", error)
                return _Dense(content, None, str(error))

    def _proven(self, dense: bytes, folder: Path) -> TfliteSlimmer:
        """A slimmer that gives, for a random plan of all groups, what the whole export gives.

        Raises:
            NotSlimmableError: it does not.
            ExportError: the plan's network cannot be exported, so that nothing can be compared.
        """
        from pipeline.export.slim import TfliteSlimmer, difference

        rng = np.random.default_rng(0)
        # Any channels, not the strongest: an index that is off by one then shows.
        scores = {group.name: rng.random(group.channels) for group in self._groups}
        counts = {g.name: int(rng.integers(min(g.channels, 2 + g.channels // 4), g.channels + 1)) for g in self._groups}
        plan = self._plan(counts, scores)
        slimmer = TfliteSlimmer(dense)
        cut, exported = folder / "cut.tflite", folder / "exported.tflite"
        cut.write_bytes(slimmer.slim(self._written(plan)))
        self._converter.convert(self._rebuilt(plan), self._input_shape, exported)
        if problem := difference(cut.read_bytes(), exported.read_bytes()):
            raise NotSlimmableError(f"a trial gave another network than its export: {problem}")
        channels, height, width = self._input_shape
        image = rng.standard_normal((1, height, width, channels)).astype(np.float32)
        found, expected = (self._converter.run(path, image) for path in (cut, exported))
        if not np.abs(found - expected).max() <= TOLERANCE * np.abs(expected).max():
            raise NotSlimmableError("a trial gave other logits than its export")
        return slimmer


class _Dense(NamedTuple):
    content: bytes
    slimmer: TfliteSlimmer | None
    problem: str | None
