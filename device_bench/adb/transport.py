"""Byte streams under adb-shell: a TCP socket that notices a dead peer, and a deadline and a size limit for every call.

adb-shell's own TcpTransport sends once and forgets what the socket did not take, which hangs a push over any link whose
buffer is smaller than the file; it takes the end of the stream for a pause; and adb-shell caps a long wait by whichever
of its three time-outs is the smallest. So the time of a call is kept here, below adb-shell.
"""

from __future__ import annotations

import select
import socket
import time

from adb_shell.transport.base_transport import BaseTransport

# A dead peer is noticed after about 11 s, also while a command runs for minutes without a word.
KEEPALIVE_IDLE_S = 5
KEEPALIVE_INTERVAL_S = 2
KEEPALIVE_PROBES = 3
USER_TIMEOUT_MS = 11_000


class DeadlineError(Exception):
    """A call took longer than it may."""


class TooMuchError(Exception):
    """A call brought more bytes than it may."""


class RefusedError(Exception):
    """The device said in the middle of a call that it fails; holds its words."""


class SocketTransport(BaseTransport):  # type: ignore[misc]  # adb-shell ships no types
    """A TCP connection; it has the methods that adb-shell's transports have."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._socket: socket.socket | None = None

    def connect(self, transport_timeout_s: float) -> None:
        self._socket = socket.create_connection(self._address, timeout=transport_timeout_s)
        keep_alive(self._socket)
        self._socket.setblocking(False)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def bulk_read(self, numbytes: int, transport_timeout_s: float) -> bytes:
        opened = self._ready(select.POLLIN, transport_timeout_s)
        data = opened.recv(numbytes)
        if not data:
            raise ConnectionResetError("the device closed the connection")
        return data

    def bulk_write(self, data: bytes, transport_timeout_s: float) -> int:
        """Write some of the data, as much as the socket takes at once."""
        return self._ready(select.POLLOUT, transport_timeout_s).send(data)

    def _ready(self, event: int, wait_s: float) -> socket.socket:
        if self._socket is None:
            raise ConnectionResetError("the connection is closed")
        waiting = select.poll()  # select() takes no descriptor above 1023
        waiting.register(self._socket, event)
        if not waiting.poll(wait_s * 1000):
            raise DeadlineError
        return self._socket


def keep_alive(opened: socket.socket) -> None:
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # macOS calls the idle time TCP_KEEPALIVE, and has no TCP_USER_TIMEOUT.
    values = {
        "TCP_KEEPIDLE": KEEPALIVE_IDLE_S,
        "TCP_KEEPALIVE": KEEPALIVE_IDLE_S,
        "TCP_KEEPINTVL": KEEPALIVE_INTERVAL_S,
        "TCP_KEEPCNT": KEEPALIVE_PROBES,
        "TCP_USER_TIMEOUT": USER_TIMEOUT_MS,
    }
    for name, value in values.items():
        if hasattr(socket, name):
            opened.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


class LimitedTransport(BaseTransport):  # type: ignore[misc]
    """Another transport under a deadline and a size limit, which whole calls share; writes whatever it is given.

    Args:
        inner: a SocketTransport, or adb-shell's UsbTransport.
    """

    def __init__(self, inner: BaseTransport) -> None:
        self._inner = inner
        self._deadline_s = 0.0
        self._left_bytes = 0
        self._pushing = False

    def begin(self, timeout_s: float, limit_bytes: int, pushing: bool = False) -> None:
        """Start a call that may take so long and read so much."""
        self._pushing = pushing
        self._deadline_s = time.monotonic() + timeout_s
        self._left_bytes = limit_bytes

    def connect(self, transport_timeout_s: float) -> None:
        self._inner.connect(transport_timeout_s)

    def close(self) -> None:
        self._inner.close()

    def bulk_read(self, numbytes: int, transport_timeout_s: float) -> bytes:
        data: bytes = self._inner.bulk_read(numbytes, self._remaining_s())
        self._left_bytes -= len(data)
        if self._left_bytes < 0:
            raise TooMuchError
        # adb-shell, which waits for something else just then, would drop it and wait on until the deadline.
        if self._pushing and data.startswith(b"FAIL"):
            raise RefusedError(data[8:].decode("utf-8", "replace"))  # FAIL, then the length in 4 bytes
        return data

    def bulk_write(self, data: bytes, transport_timeout_s: float) -> int:
        left = memoryview(data)
        while left:
            left = left[self._inner.bulk_write(left, self._remaining_s()) :]
        return len(data)

    def _remaining_s(self) -> float:
        remaining_s = self._deadline_s - time.monotonic()
        if remaining_s <= 0:
            raise DeadlineError
        return remaining_s
