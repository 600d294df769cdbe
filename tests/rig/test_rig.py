"""The rig is what it says: real devices, real faults, and nothing left of them."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from adb_shell.adb_device import AdbDeviceTcp
from adb_shell.exceptions import TcpTimeoutException

from tests.rig.device import RigDevice


@contextmanager
def adb(device: RigDevice, timeout_s: float = 5.0) -> Iterator[AdbDeviceTcp]:
    client = AdbDeviceTcp(device.host, device.port, default_transport_timeout_s=timeout_s)
    client.connect(transport_timeout_s=timeout_s, read_timeout_s=timeout_s)
    try:
        yield client
    finally:
        client.close()


def shell(client: AdbDeviceTcp, command: str, timeout_s: float = 5.0) -> str:
    return str(client.shell(command, transport_timeout_s=timeout_s, read_timeout_s=timeout_s, timeout_s=timeout_s))


def test_a_device_answers_over_adb_and_has_litert(rig_device: RigDevice) -> None:
    with adb(rig_device) as client:
        assert shell(client, "cat /run/systemd/container") == "pocketprune-rig\n"
        assert shell(client, "python3 -c 'import ai_edge_litert.interpreter; print(1)'") == "1\n"


def test_two_devices_are_two(rig_pair: tuple[RigDevice, RigDevice]) -> None:
    first, second = rig_pair
    with adb(first) as one, adb(second) as two:
        shell(one, "echo one > /var/tmp/mine")
        assert shell(two, "ls -A /var/tmp") == ""
        assert shell(one, "cat /var/tmp/mine") == "one\n"


def test_each_test_gets_a_clean_device(rig_device: RigDevice) -> None:
    with adb(rig_device) as client:
        shell(client, "echo x > /var/tmp/left; echo x > /opt/left; sleep 600 >/dev/null 2>&1 &")
    assert rig_device.files("/var/tmp") == ["left"] and rig_device.processes() == [["sleep", "600"]]
    rig_device.reset()
    assert rig_device.files("/var/tmp") == [] and rig_device.processes() == []
    assert not (rig_device.root / "opt/left").exists()


def test_a_link_that_is_down_swallows_everything(rig_device: RigDevice) -> None:
    with adb(rig_device) as client:
        rig_device.link_down()
        with pytest.raises(TcpTimeoutException):
            shell(client, "echo 1", timeout_s=0.5)
        rig_device.link_up()
    with adb(rig_device) as client:
        assert shell(client, "echo 1") == "1\n"


def test_delay_is_on_the_way_there_and_back(rig_device: RigDevice) -> None:
    def round_trip_ms() -> float:
        started_s = time.monotonic()
        socket.create_connection((rig_device.host, rig_device.port), timeout=5).close()
        return (time.monotonic() - started_s) * 1e3

    rig_device.netem(delay_ms=50)
    assert 100 <= min(round_trip_ms() for _ in range(3)) < 150
    rig_device.clear_netem()
    assert min(round_trip_ms() for _ in range(3)) < 50
