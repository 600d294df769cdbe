"""Through an adb server that runs on this machine already, with adbutils; none is ever started from here.

A server knows devices of every kind, Android 11's paired ones included, and it holds USB devices, which nobody else can
open then. Its address is adbutils' default: 127.0.0.1:5037, or $ANDROID_ADB_SERVER_HOST and $ANDROID_ADB_SERVER_PORT.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import adbutils

from device_bench.adb.link import CONNECT_S, MAX_OUTPUT_BYTES, Link
from device_bench.errors import DeviceBenchError, DeviceUnavailableError, RunnerError, TransientDeviceError, UsageError

SILENCE_S = 5.0
"""After so long without a word the server is asked whether the device is still there; that costs the device nothing."""
DISCOVERY_S = 1.0
NO_SERVER = "no adb server answers on this machine; run `adb start-server`"


class NoServerError(Exception):
    pass


class _Socket(socket.socket):
    """Keeps a deadline over many calls, and sends all it is given: adbutils ignores what a send leaves over."""

    deadline_s = 0.0

    def send(self, data: Any, flags: int = 0) -> int:
        self.settimeout(self._remaining_s())
        self.sendall(data, flags)
        return len(data)

    def recv(self, size: int, flags: int = 0) -> bytes:
        self.settimeout(self._remaining_s())
        return super().recv(size, flags)

    def recv_within(self, size: int, wait_s: float) -> bytes | None:
        """None: nothing came within `wait_s`, and the deadline is further away."""
        remaining_s = self._remaining_s()
        self.settimeout(min(wait_s, remaining_s))
        try:
            return super().recv(size)
        except TimeoutError:
            if remaining_s <= wait_s:
                raise
            return None

    def _remaining_s(self) -> float:
        remaining_s = self.deadline_s - time.monotonic()
        if remaining_s <= 0:
            raise TimeoutError("timed out")
        return remaining_s


class _Connection(adbutils.AdbConnection):  # type: ignore[misc]  # adbutils' types are not for others
    """adbutils' own starts a server where none answers, if need be with an adb binary that it brings along."""

    def __init__(self, host: str, port: int, deadline_s: float) -> None:
        self._address = (host, port)
        self._deadline_s = deadline_s
        super().__init__(host, port)

    def _safe_connect(self) -> _Socket:
        opened = _Socket()
        opened.settimeout(DISCOVERY_S)
        try:
            opened.connect(self._address)
        except OSError as error:
            opened.close()
            raise NoServerError from error
        opened.deadline_s = self._deadline_s
        return opened


class _Client(adbutils.AdbClient):  # type: ignore[misc]
    deadline_s = 0.0

    def make_connection(self, timeout: float | None = None) -> _Connection:
        return _Connection(self.host, self.port, self.deadline_s)


class ServerLink(Link):
    """One device of the server; every call is a connection of its own to the server."""

    def __init__(self, serial: str, connect_s: float = CONNECT_S) -> None:
        self.description = f"adb+server://{serial}"
        self._serial = serial
        self._connect_s = connect_s
        try:
            self._client = _Client()
        except ValueError as error:
            raise UsageError(f"ANDROID_ADB_SERVER_PORT: a port's number, please ({error})") from error
        self._lost = False
        self.reconnect()

    def execute(self, command: str, timeout_s: float, limit_bytes: int = MAX_OUTPUT_BYTES) -> bytes:
        self._join()
        try:
            with self._call(timeout_s), self._open() as connection:
                connection.send_command("exec:" + command)
                connection.check_okay()
                return self._read_all(connection, limit_bytes)
        except TimeoutError as error:
            self._check_state()  # fails if it is the device that is gone, and not the command that is slow
            raise RunnerError(f"{self.description}: a command took longer than {timeout_s:g} s") from error

    def push(self, source: Path | bytes, target: str, mode: int, timeout_s: float) -> None:
        self._join()
        try:
            with self._call(timeout_s):
                self._client.sync(self._serial).push(source, target, mode)
        except TimeoutError as error:
            raise TransientDeviceError(
                f"{self.description}: a file was not written within {timeout_s:g} s; is the link that slow?"
            ) from error

    def reconnect(self) -> None:
        # A server forgets, or goes on calling offline, a TCP device whose link broke.
        if ":" in self._serial:
            with contextlib.suppress(TimeoutError), self._call(self._connect_s):
                if self._state() not in ("device", "unauthorized"):
                    self._client.disconnect(self._serial)
                    self._client.connect(self._serial)
        self._check_state()
        self._lost = False

    def close(self) -> None:
        pass  # nothing stays open between calls

    def _join(self) -> None:
        if self._lost:
            self.reconnect()

    def _open(self) -> Any:
        return self._client.device(self._serial).open_transport()

    def _read_all(self, connection: Any, limit_bytes: int) -> bytes:
        output = bytearray()
        while True:
            data = connection.conn.recv_within(2**16, SILENCE_S)
            if data is None:
                if self._state() != "device":
                    raise ConnectionResetError("the device left its adb server")
                continue
            if not data:
                return bytes(output)
            output += data
            if len(output) > limit_bytes:
                raise RunnerError(f"{self.description}: a command printed more than {limit_bytes} bytes")

    def _check_state(self) -> None:
        try:
            with self._call(self._connect_s):
                state = self._state()
        except TimeoutError as error:
            raise TransientDeviceError(f"{self.description}: the adb server does not answer") from error
        if state == "unauthorized":
            raise DeviceUnavailableError(
                f"{self.description}: it does not know this computer's key (~/.android/adbkey) yet; "
                'unlock it and answer "Allow USB debugging?" with yes'
            )
        if state != "device":
            self._lost = True
            raise TransientDeviceError(
                f"{self.description}: the adb server calls it {state}; see `adb devices`, or `adb connect HOST:PORT`"
            )

    def _state(self) -> str:
        return dict(_devices(self._client)).get(self._serial, "not connected")

    @contextlib.contextmanager
    def _call(self, timeout_s: float) -> Iterator[None]:
        """Bound what is done inside, and tell its failures apart (TimeoutError is left to the caller)."""
        self._client.deadline_s = time.monotonic() + timeout_s
        try:
            yield
        except (DeviceBenchError, TimeoutError):
            raise
        except adbutils.AdbTimeout as error:
            raise TimeoutError from error
        except NoServerError as error:
            raise DeviceUnavailableError(f"{self.description}: {NO_SERVER}") from error
        except adbutils.AdbError as error:
            raise self._named(error) from error
        except (OSError, EOFError, ValueError) as error:
            self._lost = True
            raise TransientDeviceError(f"{self.description}: the adb server's answer broke off ({error})") from error

    def _named(self, error: Exception) -> DeviceBenchError:
        text = str(error)
        if text == "FAIL":
            return DeviceUnavailableError(f"{self.description}: the device refused a file")
        self._lost = True
        return TransientDeviceError(f"{self.description}: the adb server says: {text[:200]}; see `adb devices`")


def server_devices() -> list[tuple[str, str]]:
    """Serial and state ("device", "offline", "unauthorized") of all that the adb server knows; nothing without one."""
    try:
        client = _Client()
        client.deadline_s = time.monotonic() + DISCOVERY_S
        return _devices(client)
    except (NoServerError, adbutils.AdbError, OSError, ValueError):
        return []


def _devices(client: _Client) -> list[tuple[str, str]]:
    # adbutils' own list takes a line apart at every blank; a serial may have some.
    with client.make_connection() as connection:
        connection.send_command("host:devices")
        connection.check_okay()
        lines = connection.read_string_block().splitlines()
    return [(serial, state) for serial, tab, state in (line.rpartition("\t") for line in lines) if tab]
