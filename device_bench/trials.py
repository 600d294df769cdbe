"""What a self-test is made of: trials, and the folder that their evidence is kept in."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from device_bench.errors import DeviceBenchError

MAX_EVIDENCE = 2 * 1024 * 1024
"""Characters of one piece: a device may say a lot."""


class NotHereError(DeviceBenchError):
    """This device has no such thing; that is no fault."""


class Evidence:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, name: str, text: str) -> None:
        """Keep what the device said, word for word."""
        (self.folder / re.sub(r"[^\w.-]+", "_", name)).write_text(text[:MAX_EVIDENCE])


@dataclass(frozen=True)
class Trial:
    name: str
    run: Callable[[Evidence], str]
    """Tries the thing, and says in a few words what it saw.

    Raises:
        NotHereError: this device has no such thing.
        DeviceBenchError: it does not work.
    """
