"""Turns a torch network into the files that phones run, and checks that they still compute the same."""

from typing import get_args

from pipeline.config import ExportSection
from pipeline.export.quick import TfliteConverter

__all__ = ["TfliteConverter", "names"]


def names() -> tuple[str, ...]:
    """The formats with their precisions, as the configuration spells them."""
    rows = []
    for name, field in ExportSection.model_fields.items():
        precisions = get_args(get_args(field.annotation)[0])
        rows.append(f"{name}: {', '.join(precisions)}")
    return tuple(rows)
