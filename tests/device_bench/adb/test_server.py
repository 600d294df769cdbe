"""An adb server that is not there is never started; one that is, is told apart from the device behind it."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest

from device_bench.adb.server import ServerLink, server_devices
from device_bench.errors import DeviceUnavailableError, TransientDeviceError


@contextlib.contextmanager
def serving(monkeypatch: pytest.MonkeyPatch, answer: bytes) -> Iterator[None]:
    """An adb server that answers every request with the same."""

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = server.accept()
                with peer:
                    peer.recv(65536)
                    peer.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(server.getsockname()[1]))
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def devices(text: str) -> bytes:
    return b"OKAY" + f"{len(text):04x}{text}".encode()


@pytest.fixture(autouse=True)
def no_program_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a program was started")

    monkeypatch.setattr(subprocess, "run", refuse)
    monkeypatch.setattr(subprocess, "Popen", refuse)


def test_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(free.getsockname()[1]))
    started_s = time.monotonic()
    assert server_devices() == []
    with pytest.raises(DeviceUnavailableError, match="adb start-server"):
        ServerLink("X")
    assert time.monotonic() - started_s < 1


def test_devices_and_their_states(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(monkeypatch, devices("a serial's\tdevice\n10.0.0.1:5555\toffline\nnonsense\n")):
        assert server_devices() == [("a serial's", "device"), ("10.0.0.1:5555", "offline")]


@pytest.mark.parametrize(
    ("state", "error", "text"),
    [
        ("unauthorized", DeviceUnavailableError, "Allow USB debugging"),
        ("offline", TransientDeviceError, "calls it offline"),
        ("", TransientDeviceError, "calls it not connected"),
    ],
)
def test_a_device_that_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch, state: str, error: type[Exception], text: str
) -> None:
    with serving(monkeypatch, devices(f"S\t{state}\n" if state else "")), pytest.raises(error, match=text) as raised:
        ServerLink("S")
    assert type(raised.value) is error


@pytest.mark.parametrize("answer", [b"", b"OKAY", b"OKAYzzzz", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"FAIL0003bad"])
def test_garbage(monkeypatch: pytest.MonkeyPatch, answer: bytes) -> None:
    with serving(monkeypatch, answer):
        assert server_devices() == []
        with pytest.raises(TransientDeviceError):
            ServerLink("S")
