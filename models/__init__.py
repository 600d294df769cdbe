"""The networks: one file each, its name is the registry name.

`models.names()` lists them, `models.load(name, num_classes=...)` builds one, or one of the user's own.
"""

from models.registry import load, names

__all__ = ["load", "names"]
