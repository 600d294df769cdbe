"""A slow and lossy piece of cable between two interfaces: `lossy.py DELAY_MS LOSS_PERCENT A B`, until stdin ends.

Ethernet frames go from each to the other after a delay, and some of them never. Needs root, and no netem in the kernel.
"""

from __future__ import annotations

import contextlib
import heapq
import random
import select
import socket
import sys
import time

ETH_P_ALL = 3
PACKET_OUTGOING = 4
SOL_PACKET, PACKET_VNET_HDR = 263, 15
LONGEST_FRAME = 1 << 17


def listen(interface: str) -> socket.socket:
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    # A header before each frame says what the sender left to the network card: checksums, and cutting it to size.
    raw.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    raw.bind((interface, 0))
    return raw


def main() -> None:
    delay_s, loss = float(sys.argv[1]) / 1e3, float(sys.argv[2]) / 100
    ends = [listen(name) for name in sys.argv[3:5]]
    other = {ends[0]: ends[1], ends[1]: ends[0]}
    chance = random.Random(0)
    waiting: list[tuple[float, int, socket.socket, bytes]] = []
    number = 0
    print("ready", flush=True)
    while True:
        timeout_s = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        ready = select.select([*ends, sys.stdin], [], [], timeout_s)[0]
        if sys.stdin in ready:
            return
        for end in [end for end in ends if end in ready]:
            frame, address = end.recvfrom(LONGEST_FRAME)
            if address[2] != PACKET_OUTGOING and chance.random() >= loss:
                number += 1
                heapq.heappush(waiting, (time.monotonic() + delay_s, number, other[end], frame))
        while waiting and waiting[0][0] <= time.monotonic():
            _, _, out, frame = heapq.heappop(waiting)
            with contextlib.suppress(OSError):  # the device is gone, or its queue is full: one more lost packet
                out.send(frame)


if __name__ == "__main__":
    main()
