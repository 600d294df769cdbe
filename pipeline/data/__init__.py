"""Labelled images in three splits: the data sets in `sets/` (the file name is the registry name), or the user's own."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

from pydantic import ValidationError

from pipeline.config import DataSection
from pipeline.data import sets
from pipeline.errors import DataError

if TYPE_CHECKING:
    from pipeline.data.splits import DataSet

MIN_IMAGE_SIZE = 8


def names() -> tuple[str, ...]:
    """The registered data sets, found by file name; nothing is imported."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(sets.__path__)))


def load_data(section: DataSection, seed: int) -> DataSet:
    """Load (or draw) the data set that the configuration names; equal arguments give equal images in equal order.

    Raises:
        DataError: the name, a setting or the data itself cannot be used.
        models.errors.CallableError: `module:callable` does not lead to a callable.
    """
    if section.image_size < MIN_IMAGE_SIZE:
        raise DataError(f"data.image_size: {section.image_size} is too small: give at least {MIN_IMAGE_SIZE}")
    if ":" in section.name:
        from pipeline.data.custom import load_custom

        return load_custom(section, seed)
    if section.name not in names():
        raise DataError(
            f"data.name: there is no data set {section.name!r}: choose one of {', '.join(names())}, "
            "or name your own as module:callable or path/to/file.py:callable"
        )
    module = importlib.import_module(f"{sets.__name__}.{section.name}")
    try:
        options = module.Options.model_validate(section.options)
    except ValidationError as error:
        raise DataError(_explain(section.name, error, sorted(module.Options.model_fields))) from error
    data_set: DataSet = module.load(section.image_size, seed, section.root, options)
    return data_set


def _explain(name: str, error: ValidationError, known: list[str]) -> str:
    lines = []
    for problem in error.errors():
        key = ".".join(["data.options", *(str(part) for part in problem["loc"])])
        if problem["type"] == "extra_forbidden":
            choice = f"known here: {', '.join(known)}" if known else "it has no options: remove it"
            lines.append(f"{key}: {name} has no such option; {choice}")
        else:
            lines.append(f"{key}: {problem['msg'].removeprefix('Value error, ')} (got {problem['input']!r})")
    return "\n  ".join(lines)
