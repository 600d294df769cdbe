"""Paths and serials arrive as they are, and execute nothing, whatever is in them; for arguments see test_on_rig."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device_bench.adb import open_link
from device_bench.adb.connection import AdbConnection
from device_bench.devices import list_devices, open_device
from device_bench.errors import DeviceUnavailableError
from tests.rig.device import RigDevice

EVIL = ["$(touch /oops)", "`touch /oops`", ";touch /oops;", "'\"'", "a b", "\n", "*", "-n", "~", "A=b", "\\", "\r"]
PIECES = st.sampled_from(EVIL) | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
NAMES = (
    st.lists(PIECES, max_size=4)
    .map(lambda pieces: "".join(pieces).replace("/", "_"))
    .filter(lambda name: name not in ("", ".", ".."))
)


@pytest.fixture
def connection(rig_device: RigDevice) -> Iterator[AdbConnection]:
    with AdbConnection(open_link(rig_device.spec)) as opened:
        yield opened
    assert not (rig_device.root / "oops").exists()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(folder=NAMES, name=NAMES, content=st.binary(max_size=64))
def test_paths(connection: AdbConnection, rig_device: RigDevice, folder: str, name: str, content: bytes) -> None:
    path = f"/var/tmp/{folder}/{name}"
    assert connection.push(content, path) is True
    assert (rig_device.root / path[1:]).read_bytes() == content
    assert connection.pull(path) == content
    held = connection.stat(path)
    assert held is not None and held.size_bytes == len(content)
    connection.run(["rm", "-r", f"/var/tmp/{folder}"], check=True)


@pytest.mark.parametrize("serial", [*EVIL, "x:5555; touch /oops", "127.0.0.1:1\nhost:kill"])
def test_serials(adb: str, rig_device: RigDevice, serial: str) -> None:
    with pytest.raises(DeviceUnavailableError) as caught:
        open_device(f"adb+server://{quote(serial, safe='')}")
    assert serial in str(caught.value)
    # The server has heard nothing but a name: it lives, and knows the one device that it knew.
    (listing,) = (each for each in list_devices() if each.spec.startswith("adb+server://"))
    assert listing.spec == f"adb+server://{rig_device.host}:{rig_device.port}" and listing.info
