"""How large a table is run."""

from __future__ import annotations

from enum import StrEnum


class Scale(StrEnum):
    smoke = "smoke"
    """A minute at most: what tests run."""
    small = "small"
    """Two cores and the data that ships."""
    paper = "paper"
    """The paper's own setting, for a machine that has the data and a GPU."""
