from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.device import RigDevice


@pytest.fixture
def adb(rig_device: RigDevice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A real adb server on a port of its own that knows the rig's device; gives the adb program."""
    program = shutil.which("adb")
    if program is None:
        pytest.skip("needs the adb program")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", port)
    command = [program, "-P", port]
    for words in (["start-server"], ["connect", f"{rig_device.host}:{rig_device.port}"]):
        subprocess.run([*command, *words], check=True, capture_output=True, timeout=30)
    yield program
    subprocess.run([*command, "kill-server"], check=False, capture_output=True, timeout=30)
