"""A link to a device: commands out, bytes back, files over. Two implementations: `tcp_usb.py` and `server.py`.

What becomes of a failure, in both of them:

    connection refused, no route, reset, end of stream, silence of the link  -> TransientDeviceError
    what comes is not adb (wrong port, garbage)                              -> TransientDeviceError
    the device refused our key, or nobody answered its prompt                -> DeviceUnavailableError
    no such USB device, USB busy, no adb server                              -> DeviceUnavailableError
    a command took longer than its limit, or printed more than its limit     -> RunnerError
    the device refused a file                                                -> DeviceUnavailableError

After a failure of any kind a link is out of step; it joins afresh by itself before the next call. A link serves one
call at a time: whoever works beside it opens another.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

CONNECT_S = 5.0
AUTH_S = 30.0
"""How long a person has to answer the prompt on the device."""
MAX_OUTPUT_BYTES = 64 * 2**20


class Link(ABC):
    """All its errors are listed in the module's docstring."""

    description: str
    """The device spec, for messages."""

    @abstractmethod
    def execute(self, command: str, timeout_s: float, limit_bytes: int = MAX_OUTPUT_BYTES) -> bytes:
        """Hand a command line to the device's shell and return what it printed, stdout and stderr in one."""

    @abstractmethod
    def push(self, source: Path | bytes, target: str, mode: int, timeout_s: float) -> None:
        """Write a file on the device; it is not verified, and its folder is made where it is missing."""

    @abstractmethod
    def reconnect(self) -> None:
        """Drop the connection, if any, and join afresh."""

    @abstractmethod
    def close(self) -> None:
        """Let go; closing twice is harmless."""
