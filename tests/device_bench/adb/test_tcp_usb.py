"""What becomes of devices that refuse, say nothing, or do not speak adb; and the key pair."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from device_bench.adb import open_link, split_address
from device_bench.adb.keys import key_path, load_signer
from device_bench.adb.tcp_usb import _usb_error
from device_bench.errors import DeviceUnavailableError, TransientDeviceError, UsageError


def packet(command: bytes, arg0: int, arg1: int, data: bytes = b"") -> bytes:
    word = int.from_bytes(command, "little")
    return struct.pack("<6I", word, arg0, arg1, len(data), sum(data), word ^ 0xFFFFFFFF) + data


@contextlib.contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """Something on a port that answers whatever comes with the same, twice, and then goes on listening."""
    opened = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = server.accept()
                opened.append(peer)
                peer.settimeout(5)
                for _ in range(2):
                    if peer.recv(65536):
                        peer.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"adb://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
    thread.join(6)
    for peer in opened:
        peer.close()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


AUTH = packet(b"AUTH", 1, 0, b"0123456789abcdefghij")


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        (AUTH, DeviceUnavailableError, r"\.android/adbkey\) yet; unlock it, answer \"Allow USB debugging\?\""),
        (packet(b"STLS", 1, 0), DeviceUnavailableError, "adb tcpip 5555"),
        (b"SSH-2.0-OpenSSH_9.9 Debian-1\r\n", TransientDeviceError, "does not speak adb .*check the port"),
        (packet(b"CNXN", 1, 4096, b"device::")[:-1] + b"!", TransientDeviceError, "does not speak adb"),
        (b"", TransientDeviceError, "no answer within 0.5 s"),
    ],
)
def test_a_device_that_cannot_be_joined(answer: bytes, error: type[Exception], text: str) -> None:
    with answering(answer) as spec, pytest.raises(error, match=text) as raised:
        open_link(spec, connect_s=0.5, auth_s=0.5)
    assert type(raised.value) is error
    assert spec in str(raised.value)


def test_no_such_host() -> None:
    with pytest.raises(DeviceUnavailableError, match="no such host"):
        open_link("adb://no-such-host.invalid")


def test_the_key_is_made_once_for_its_owner_alone(home: Path) -> None:
    made = load_signer()
    assert key_path() == home / ".android/adbkey"
    assert key_path().stat().st_mode & 0o777 == 0o600
    private = key_path().read_bytes()
    public = Path(f"{key_path()}.pub")
    public.unlink()
    again = load_signer()  # adb itself needs only the private one
    assert key_path().read_bytes() == private
    assert again.Sign(b"x" * 20) == made.Sign(b"x" * 20)
    assert sorted(path.name for path in key_path().parent.iterdir()) == ["adbkey", "adbkey.pub"]


def test_a_key_that_is_none(home: Path) -> None:
    key_path().parent.mkdir()
    key_path().write_text("nonsense")
    with pytest.raises(DeviceUnavailableError, match="no adb key"):
        load_signer()
    assert key_path().read_text() == "nonsense"


def test_a_home_that_cannot_be_written(home: Path) -> None:
    (home / ".android").write_text("a file")
    with pytest.raises(DeviceUnavailableError, match=r"adbkey: the adb key cannot be read or made"):
        load_signer()


@pytest.mark.parametrize(
    ("spec", "address"),
    [
        ("adb://phone", ("phone", 5555)),
        ("adb://10.0.0.1:5556", ("10.0.0.1", 5556)),
        ("adb://[fe80::1]:5556", ("fe80::1", 5556)),
        ("adb://fe80::1", ("fe80::1", 5555)),
    ],
)
def test_addresses(spec: str, address: tuple[str, int]) -> None:
    assert split_address(spec) == address


@pytest.mark.parametrize(
    "spec", ["adb://", "adb://:1", "adb://h:0", "adb://h:65536", "adb://h:x", "adb+usb://", "usb://x"]
)
def test_specs_that_cannot_work(spec: str) -> None:
    with pytest.raises(UsageError, match="write adb://HOST:PORT"):
        open_link(spec)


@pytest.mark.parametrize(
    ("name", "error", "text"),
    [
        ("USBErrorBusy", DeviceUnavailableError, "adb kill-server"),
        ("USBErrorAccess", DeviceUnavailableError, "udev"),
        ("USBErrorNoDevice", TransientDeviceError, "plug it in again"),
        ("USBErrorTimeout", TransientDeviceError, "no answer"),
    ],
)
def test_usb_errors(name: str, error: type[Exception], text: str) -> None:
    found = _usb_error("adb+usb://it's", type(name, (Exception,), {})())
    assert type(found) is error
    assert text in str(found)


def test_no_such_usb_device() -> None:
    pytest.importorskip("usb1")
    with pytest.raises(DeviceUnavailableError, match="USB"):
        open_link("adb+usb://no $(such) serial")
