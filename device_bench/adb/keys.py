"""The key pair by which a device knows this computer: adb's own, `~/.android/adbkey` and `adbkey.pub`."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Any

from device_bench.errors import DeviceUnavailableError


def key_path() -> Path:
    return Path.home() / ".android" / "adbkey"


def load_signer() -> Any:
    """adb-shell's signer with the user's key; the key is made where there is none, and an existing one is kept.

    Raises:
        DeviceUnavailableError: the key cannot be read or made.
    """
    from adb_shell.auth.sign_pythonrsa import PythonRSASigner

    path = key_path()
    try:
        _complete(path)
        return PythonRSASigner.FromRSAKeyPath(str(path))
    except OSError as error:
        raise DeviceUnavailableError(f"{path}: the adb key cannot be read or made: {error.strerror}") from error
    except Exception as error:  # ValueError, IndexError, pyasn1's and rsa's own: whatever a damaged key brings about
        raise DeviceUnavailableError(
            f"{path}: this is no adb key ({error}); move it and {path.name}.pub away, and a new pair will be made"
        ) from error


def _complete(path: Path) -> None:
    """Make what is missing of the pair; each file appears whole or not at all."""
    from adb_shell.auth.keygen import keygen, write_public_keyfile

    public = path.with_name(path.name + ".pub")
    if path.exists() and public.exists():
        return
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".adbkey-") as folder:
        made = Path(folder, path.name)
        made.touch(mode=0o600)  # keygen writes into it, and keeps its mode
        if not path.exists():
            keygen(str(made))
            with contextlib.suppress(FileExistsError):  # another process was quicker: its key is the key
                os.link(made, path)
        write_public_keyfile(str(path), str(made) + ".pub")
        os.replace(str(made) + ".pub", public)
