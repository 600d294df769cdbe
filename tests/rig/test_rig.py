"""The rig is what it says: real devices, real faults, and nothing left of them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from adb_shell.adb_device import AdbDeviceTcp
from adb_shell.exceptions import TcpTimeoutException

from tests.rig.build import RigUnavailable, check_can_build
from tests.rig.device import RigDevice
from tests.rig.fixtures import rig as rig_fixture

PATIENCE_S = 10.0


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


def ask(device: RigDevice, command: str) -> str:
    with adb(device) as client:
        return shell(client, command)


def eventually(condition: Callable[[], bool]) -> bool:
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s:
        if condition():
            return True
        time.sleep(0.02)
    return False


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
        assert shell(one, "cat /etc/machine-id") != shell(two, "cat /etc/machine-id")


def test_a_reset_device_is_clean(rig_device: RigDevice) -> None:
    ask(rig_device, "echo x > /var/tmp/left; echo x > /opt/left; setsid sleep 600 >/dev/null 2>&1 & sleep 0.3")
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
    assert ask(rig_device, "echo 1") == "1\n"


def test_a_connection_outlives_a_short_loss_of_the_link(rig_device: RigDevice) -> None:
    with adb(rig_device) as client:
        rig_device.link_down()
        rig_device.link_up()
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


def test_what_is_lost_on_the_way_comes_again(rig_device: RigDevice) -> None:
    rig_device.netem(loss_percent=5)
    with adb(rig_device, timeout_s=20) as client:
        numbers = shell(client, "seq 100000", timeout_s=20)
    assert numbers.split() == [str(number) for number in range(1, 100001)]


def test_small_buffers_make_a_send_short(rig_device: RigDevice) -> None:
    def one_send_bytes() -> int:
        with socket.create_connection((rig_device.host, rig_device.port), timeout=5) as connection:
            connection.setblocking(False)
            return connection.send(bytes(4 << 20))

    ordinary = one_send_bytes()
    rig_device.small_buffers()
    assert one_send_bytes() < min(ordinary, 1 << 20)


def test_a_killed_adbd_drops_the_connection_and_comes_back(rig_device: RigDevice) -> None:
    before = rig_device.shell(["pidof", "adbd"]).stdout
    with socket.create_connection((rig_device.host, rig_device.port), timeout=5) as connection:
        rig_device.kill_adbd()
        assert connection.recv(1) == b""
    assert eventually(lambda: rig_device.shell(["pidof", "adbd"]).stdout not in ("", before))
    rig_device.wait_for_adbd()
    assert ask(rig_device, "echo 1") == "1\n"


def test_a_reboot_ends_every_process_and_keeps_the_disk(rig_device: RigDevice) -> None:
    ask(rig_device, "echo kept > /var/tmp/file; echo lost > /tmp/file; setsid sleep 600 >/dev/null 2>&1 & sleep 0.3")
    rig_device.reboot(down_s=0.1)
    assert rig_device.processes() == []
    assert ask(rig_device, "cat /var/tmp/file; ls -A /tmp") == "kept\n"


def test_a_full_disk_is_full_until_it_is_freed(rig_device: RigDevice) -> None:
    rig_device.fill_storage()
    write = "head -c 1000000 /dev/zero > /var/tmp/file; echo $?"
    assert "No space left on device" in ask(rig_device, write)
    rig_device.free_storage()
    assert ask(rig_device, write) == "0\n"


OWNER = """
import time
from tests.rig.device import RigDevice
with RigDevice() as device:
    device.netem(delay_ms=1)
    print(device.link.interface, device._keeper.pid, device._init_pid, device.link._impairment.pid, flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_nothing_is_left_of_a_device_whose_owner_ends(rig: None, end: signal.Signals) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert owner.stdout
    with owner.stdout:
        interface, *pids = owner.stdout.readline().split()
    assert Path(f"/sys/class/net/{interface}").exists()
    mounts = Path("/proc/self/mounts").read_text()
    assert "/mnt/root" not in mounts, "a device's mounts are its own"
    owner.send_signal(end)
    owner.wait(PATIENCE_S)
    assert eventually(lambda: not Path(f"/sys/class/net/{interface}").exists())
    assert eventually(lambda: not any(runs(int(pid)) for pid in pids))


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_without_root_the_reason_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(RigUnavailable, match=r"^needs root and debootstrap for the rig \(tests/rig\)$"):
        check_can_build("amd64")


@pytest.mark.parametrize(("required", "outcome"), [("", pytest.skip.Exception), ("1", pytest.fail.Exception)])
def test_where_the_rig_cannot_be_had_tests_skip_or_fail(
    monkeypatch: pytest.MonkeyPatch, required: str, outcome: type[BaseException]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("POCKETPRUNE_REQUIRE_RIG", required)
    with pytest.raises(outcome, match="needs root and debootstrap"):
        rig_fixture.__wrapped__()


def test_an_emulated_device_is_arm64_and_runs_litert(rig_emulator: RigDevice) -> None:
    with adb(rig_emulator, timeout_s=60) as client:
        assert shell(client, "uname -m", timeout_s=60) == "aarch64\n"
        assert shell(client, "python3 -c 'import ai_edge_litert.interpreter; print(1)'", timeout_s=60) == "1\n"
        assert shell(client, "cat /proc/sys/kernel/arch", timeout_s=60) == f"{os.uname().machine}\n"
