"""Which network a table prunes: what trains it, so that tables with equal settings share it."""

from __future__ import annotations

from typing import Any

from pipeline.config import BaselineSection, Config, DataSection, ModelSection
from pipeline.section import Section


class NetworkSettings(Section):
    """The dense network of a scale, and its training."""

    model: ModelSection
    data: DataSection
    baseline: BaselineSection

    def config(self, seed: int, **sections: Any) -> Config:
        """A configuration with this network; `sections` are the others that a cell needs, such as `pruning`."""
        return Config(name="reproduce", seed=seed, model=self.model, data=self.data, baseline=self.baseline, **sections)
