"""Bytes arrive whole over sockets that take a few at a time, and a call ends when its time or its size is up."""

from __future__ import annotations

import socket
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_bench.adb.transport import (
    DeadlineError,
    LimitedTransport,
    RefusedError,
    SocketTransport,
    TooMuchError,
    keep_alive,
)


class Reluctant(SocketTransport):
    """Takes as many bytes at a time as it is told, over and over, and answers with what it was given to say."""

    def __init__(self, takes: list[int], says: bytes = b"") -> None:
        super().__init__("", 0)
        self.took = b""
        self._takes = takes
        self._says = says

    def bulk_write(self, data: bytes, transport_timeout_s: float) -> int:
        n_bytes = min(len(data), self._takes[len(self.took) % len(self._takes)])
        self.took += bytes(data[:n_bytes])
        return n_bytes

    def bulk_read(self, numbytes: int, transport_timeout_s: float) -> bytes:
        said, self._says = self._says[:numbytes], self._says[numbytes:]
        return said


@given(st.binary(max_size=500), st.lists(st.integers(min_value=1, max_value=100), min_size=1))
def test_all_is_sent(data: bytes, takes: list[int]) -> None:
    inner = Reluctant(takes)
    transport = LimitedTransport(inner)
    transport.begin(5.0, 0)
    assert transport.bulk_write(data, 1.0) == len(data)
    assert inner.took == data


def test_a_socket_with_a_small_buffer_gets_all() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        inner = SocketTransport(*server.getsockname()[:2])
        inner.connect(1.0)
        assert inner._socket is not None
        inner._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        peer, _ = server.accept()
        transport = LimitedTransport(inner)
        transport.begin(0.2, 0)
        with peer, pytest.raises(DeadlineError):  # nobody reads
            transport.bulk_write(b"x" * 50_000_000, 60.0)
        transport.close()
        transport.close()


def test_a_call_ends_with_its_time_not_with_each_wait() -> None:
    near, far = socket.socketpair()
    transport = SocketTransport("", 0)
    transport._socket = near
    limited = LimitedTransport(transport)
    limited.begin(0.1, 100)
    started_s = time.monotonic()
    with near, far, pytest.raises(DeadlineError):
        limited.bulk_read(1, 60.0)
    assert time.monotonic() - started_s < 1.0


def test_the_end_of_the_stream_is_an_error() -> None:
    near, far = socket.socketpair()
    far.close()
    transport = SocketTransport("", 0)
    transport._socket = near
    with near, pytest.raises(ConnectionResetError):
        transport.bulk_read(1, 1.0)
    with pytest.raises(ConnectionResetError, match="closed"):
        SocketTransport("", 0).bulk_read(1, 1.0)


def test_a_call_brings_no_more_than_it_may() -> None:
    limited = LimitedTransport(Reluctant([1], b"x" * 11))
    limited.begin(1.0, 10)
    assert limited.bulk_read(10, 1.0) == b"x" * 10
    with pytest.raises(TooMuchError):
        limited.bulk_read(10, 1.0)


def test_a_refusal_in_the_middle_of_a_push_is_heard() -> None:
    limited = LimitedTransport(Reluctant([1], b"FAIL\x04\0\0\0full"))
    limited.begin(1.0, 100, pushing=True)
    with pytest.raises(RefusedError, match=r"^full$"):
        limited.bulk_read(24, 1.0)


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="needs Linux")
def test_a_dead_peer_is_noticed_in_time() -> None:
    with socket.socket() as opened:
        keep_alive(opened)
        options = [socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT]
        idle_s, interval_s, probes, unanswered_ms = (opened.getsockopt(socket.IPPROTO_TCP, name) for name in options)
    assert idle_s + interval_s * probes == unanswered_ms / 1000 == 11
