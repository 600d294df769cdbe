"""Where what is learned about a device is remembered (XDG base directory specification: state)."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from urllib.parse import quote


def device_file(device_id: str, ending: str) -> Path:
    """The file of one device and one matter: whatever the id holds, a single name below the state folder."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state"
    return Path(state) / "pocketprune/devices" / f"{quote(device_id, safe='')[:200]}{ending}"


def write_whole(path: Path, text: str) -> None:
    """Write it so that a reader sees the old file or the new one, whole.

    Raises:
        OSError: it could not be written; the old file is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".new", delete=False, encoding="utf-8") as file:
        try:
            file.write(text)
            file.close()
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise
