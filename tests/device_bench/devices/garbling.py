"""A cable that can be told to bring noise: a TCP relay on this machine."""

from __future__ import annotations

import random
import select
import socket
import threading
from types import TracebackType
from typing import Self


class Garbler:
    """Stands between a client and a device, which it reaches at `spec`; use it as a context manager.

    Args:
        host, port: the device's own.
    """

    def __init__(self, host: str, port: int) -> None:
        self._device = (host, port)
        self._server = socket.create_server(("127.0.0.1", 0))
        self._noise = threading.Event()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]

    @property
    def spec(self) -> str:
        return f"adb://127.0.0.1:{self._server.getsockname()[1]}"

    def garble(self) -> None:
        """Bring a burst of noise to the client, once."""
        self._noise.set()

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        self._server.close()

    def _accept(self) -> None:
        while not self._over.is_set():
            if select.select([self._server], [], [], 0.05)[0]:
                client, _ = self._server.accept()
                self._threads.append(threading.Thread(target=self._relay, args=(client,)))
                self._threads[-1].start()

    def _relay(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._device) as device:
            other = {client: device, device: client}
            while not self._over.is_set():
                if self._noise.is_set():
                    self._noise.clear()
                    client.sendall(random.Random(7).randbytes(4096))
                try:
                    for source in select.select(list(other), [], [], 0.05)[0]:
                        data = source.recv(2**16)
                        if not data:
                            return
                        other[source].sendall(data)
                except OSError:
                    return
