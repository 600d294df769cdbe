"""Straight to a device's adbd, over TCP or USB, with adb-shell."""

from __future__ import annotations

import contextlib
import io
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from adb_shell import exceptions
from adb_shell.adb_device import AdbDevice
from adb_shell.transport.base_transport import BaseTransport

from device_bench.adb.keys import key_path, load_signer
from device_bench.adb.link import MAX_OUTPUT_BYTES, Link
from device_bench.adb.transport import DeadlineError, LimitedTransport, RefusedError, SocketTransport, TooMuchError
from device_bench.errors import DeviceBenchError, DeviceUnavailableError, RunnerError, TransientDeviceError

PACKETS_BYTES = 2**20
"""What a call may read besides its output: packets' headers and acknowledgements."""


class AdbShellLink(Link):
    """Speaks adb by itself; no adb server and no adb program is involved.

    Args:
        transport: carries the bytes; `tcp` and `usb` make one.
        connect_s: longest wait for the device to answer.
        auth_s: longest wait for a person to allow this computer on the device.
    """

    def __init__(self, description: str, transport: BaseTransport, connect_s: float, auth_s: float) -> None:
        self.description = description
        self._connect_s = connect_s
        self._auth_s = auth_s
        self._transport = LimitedTransport(transport)
        # Its own name for this computer would be asked of the network.
        self._device: Any = AdbDevice(self._transport, banner=b"pocketprune")
        self.reconnect()

    @classmethod
    def tcp(cls, host: str, port: int, connect_s: float, auth_s: float) -> Self:
        name = f"[{host}]" if ":" in host else host
        return cls(f"adb://{name}:{port}", SocketTransport(host, port), connect_s, auth_s)

    @classmethod
    def usb(cls, serial: str, connect_s: float, auth_s: float) -> Self:
        return cls(f"adb+usb://{serial}", _find_usb(serial), connect_s, auth_s)

    def execute(self, command: str, timeout_s: float, limit_bytes: int = MAX_OUTPUT_BYTES) -> bytes:
        self._join()
        try:
            with self._call(timeout_s, limit_bytes):
                output: bytes = self._device.exec_out(command, timeout_s, timeout_s, timeout_s, decode=False)
        except DeadlineError as error:
            self.reconnect()  # fails if it was the link that went silent, and not the command that is slow
            raise RunnerError(f"{self.description}: a command took longer than {timeout_s:g} s") from error
        except TooMuchError as error:
            raise RunnerError(f"{self.description}: a command printed more than {limit_bytes} bytes") from error
        return output

    def push(self, source: Path | bytes, target: str, mode: int, timeout_s: float) -> None:
        self._join()
        stream = io.BytesIO(source) if isinstance(source, bytes) else str(source)
        try:
            with self._call(timeout_s, 0, pushing=True):
                self._device.push(stream, target, mode, transport_timeout_s=timeout_s, read_timeout_s=timeout_s)
        except (DeadlineError, TooMuchError) as error:
            raise TransientDeviceError(
                f"{self.description}: a file was not written within {timeout_s:g} s; is the link that slow?"
            ) from error

    def reconnect(self) -> None:
        self._device.close()
        try:
            with self._call(self._connect_s, 0):
                try:
                    self._connect([])
                except exceptions.DeviceAuthError:  # it wants to know who we are
                    self._connect([load_signer()])
        except DeadlineError as error:
            raise TransientDeviceError(
                f"{self.description}: no answer within {self._connect_s:g} s; is it on, and adb debugging with it?"
            ) from error

    def close(self) -> None:
        with contextlib.suppress(Exception):  # whatever a USB stack has against letting go of an unplugged device
            self._device.close()

    def _join(self) -> None:
        if not self._device.available:
            self.reconnect()

    def _connect(self, keys: list[Any]) -> None:
        asked = []

        def ask(_device: object) -> None:
            asked.append(True)
            self._transport.begin(self._auth_s, PACKETS_BYTES)

        try:
            self._device.connect(keys, self._connect_s, self._auth_s, self._connect_s, ask)
        except (DeadlineError, exceptions.AdbTimeoutError) as error:
            if not asked:
                raise
            raise DeviceUnavailableError(
                f"{self.description}: it does not know this computer's key ({key_path()}) yet; "
                'unlock it, answer "Allow USB debugging?" with yes, and try again'
            ) from error

    @contextlib.contextmanager
    def _call(self, timeout_s: float, limit_bytes: int, pushing: bool = False) -> Iterator[None]:
        """Bound what is done inside, and tell its failures apart; after any of them the connection is closed."""
        self._transport.begin(timeout_s, limit_bytes + PACKETS_BYTES, pushing)
        try:
            yield
        except exceptions.AdbTimeoutError as error:
            self.close()
            raise DeadlineError from error
        except BaseException as error:  # Ctrl-C included: the stream stands somewhere in the middle
            self.close()
            known = self._named(error)
            if known is None:
                raise
            raise known from error

    def _named(self, error: BaseException) -> DeviceBenchError | None:
        """The error of ours that one of another library stands for; None: let it be."""
        if isinstance(error, DeviceBenchError | DeadlineError | TooMuchError) or not isinstance(error, Exception):
            return None
        if isinstance(error, RefusedError):
            return DeviceUnavailableError(f"{self.description}: the device refused a file: {error}")
        if isinstance(error, exceptions.InvalidCommandError) and "STLS" in str(error):
            return DeviceUnavailableError(
                f"{self.description}: it wants Wireless debugging with pairing, which is not spoken here; "
                "pair it with adb and use adb+server://SERIAL, or run `adb tcpip 5555` once over USB"
            )
        if isinstance(error, socket.gaierror):
            return DeviceUnavailableError(f"{self.description}: no such host ({error.strerror}); check the name")
        if isinstance(error, OSError):
            return TransientDeviceError(f"{self.description}: {error.strerror or error}; is it on and in reach?")
        if type(error).__name__.startswith("USBError"):
            return _usb_error(self.description, error)
        usb_error = getattr(error, "usb_error", None)
        if usb_error is not None:
            return _usb_error(self.description, usb_error)
        # adb-shell trips over garbage in many ways: its own errors, struct.error, KeyError, ValueError.
        return TransientDeviceError(
            f"{self.description}: what answers there does not speak adb ({type(error).__name__}: {str(error)[:200]}); "
            "check the port"
        )


def _find_usb(serial: str) -> BaseTransport:
    spec = f"adb+usb://{serial}"
    try:
        from adb_shell.transport.usb_transport import UsbTransport
    except (ImportError, OSError) as error:
        raise DeviceUnavailableError(
            f"{spec}: libusb is missing ({error}); run `pip install 'adb-shell[usb]'`, or use adb+server://{serial}"
        ) from error
    try:
        return UsbTransport.find_adb(serial)
    except exceptions.UsbDeviceNotFoundError as error:
        raise DeviceUnavailableError(
            f"{spec}: no such USB device; plug it in, switch USB debugging on, and check the serial with `adb devices`"
        ) from error
    except Exception as error:  # libusb's own errors, which exist only where it is installed
        raise _usb_error(spec, error) from error


def _usb_error(spec: str, error: Exception) -> DeviceBenchError:
    """libusb's errors by name, for the package may be missing."""
    name = type(error).__name__
    if name == "USBErrorTimeout":
        return TransientDeviceError(f"{spec}: no answer over USB; unplug it and plug it in again")
    if name == "USBErrorBusy":
        remedy = f"an adb server holds it: run `adb kill-server`, or use adb+server://{spec.partition('://')[2]}"
        return DeviceUnavailableError(f"{spec}: USB busy; {remedy}")
    if name == "USBErrorAccess":
        return DeviceUnavailableError(f"{spec}: no permission for USB; install your system's adb udev rules")
    return TransientDeviceError(f"{spec}: USB failed ({error}); unplug it and plug it in again")
