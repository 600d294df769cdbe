"""The cable between this machine and a device of the rig: an address, and the ways in which cables fail.

    this machine  pprigN ---- port_here [ switch: a bridge ] port_device ---- eth0  device

The switch lives in a network namespace of the device's keeper, so both ends stay as they are when something breaks
between them: as with a radio link, nobody is told, and packets vanish. Delay and loss are made by `lossy.py` in the
bridge's place, since not every kernel has netem.
"""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

from tests.rig.build import RigUnavailable, run

SLOTS = Path("/run/pocketprune-rig")
LAST_SLOT = 4096
LOSSY = Path(__file__).with_name("lossy.py")


class Link:
    """An address of its own, held by a lock that the kernel takes back when this process ends."""

    def __init__(self) -> None:
        SLOTS.mkdir(exist_ok=True)
        for number in range(LAST_SLOT):
            self._lock = open(SLOTS / str(number), "w")  # noqa: SIM115 - held until close()
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                self._lock.close()
        else:
            raise RigUnavailable(f"{LAST_SLOT} devices of the rig run already")
        # 198.18.0.0/15 is reserved for tests of network devices (RFC 2544): no real network uses it.
        network = f"198.18.{number // 64}"
        self.interface = f"pprig{number}"
        self.host_address = f"{network}.{number % 64 * 4 + 1}"
        self.device_address = f"{network}.{number % 64 * 4 + 2}"
        self._mac = f"02:50:50:00:{number // 256:02x}:{number % 256:02x}"
        self._impairment: subprocess.Popen[bytes] | None = None
        self._device_pid: int | None = None

    def close(self) -> None:
        self.unplug()
        self._lock.close()

    def plug_in(self, keeper_pid: int) -> None:
        """Join this machine with the switch in the keeper's network namespace."""
        self._keeper_pid = keeper_pid
        self._ip("link", "add", self.interface, "type", "veth", "peer", "name", "port_here", "netns", str(keeper_pid))
        self._ip("addr", "add", f"{self.host_address}/30", "dev", self.interface)
        self._ip("link", "set", self.interface, "up")
        self._ip_in_switch("link", "set", "port_here", "master", "switch", "up")

    def unplug(self) -> None:
        """Take the cable off this machine; harmless where there is none."""
        self._stop_impairment()
        self._device_pid = None
        if Path(f"/sys/class/net/{self.interface}").exists():
            subprocess.run(["ip", "link", "del", self.interface], check=False, capture_output=True, timeout=20)

    def attach(self, device_pid: int) -> None:
        """Join the switch with a device that has just been started: its network namespace is empty."""
        # A device that lost its power may not have taken its end of the cable with it yet.
        old = ["nsenter", f"--target={self._keeper_pid}", "--net", "ip", "link", "del", "port_device"]
        subprocess.run(old, check=False, capture_output=True, timeout=20)
        end = ["address", self._mac, "netns", str(device_pid)]
        self._ip_in_switch("link", "add", "port_device", "type", "veth", "peer", "name", "eth0", *end)
        self._device_pid = device_pid
        self._in_device("ip", "addr", "add", f"{self.device_address}/30", "dev", "eth0")
        self._ip_in_switch("link", "set", "port_device", "up")
        self.up()

    def down(self) -> None:
        self._stop_impairment()
        self._ip_in_switch("link", "set", "port_device", "nomaster")

    def up(self) -> None:
        """A whole cable again, whatever it was before."""
        self._stop_impairment()
        self._ip_in_switch("link", "set", "port_here", "master", "switch")
        self._ip_in_switch("link", "set", "port_device", "master", "switch")

    def impair(self, delay_ms: float, loss_percent: float) -> None:
        self._stop_impairment()
        self._ip_in_switch("link", "set", "port_here", "nomaster")
        self._ip_in_switch("link", "set", "port_device", "nomaster")
        command = [sys.executable, str(LOSSY), str(delay_ms), str(loss_percent), "port_here", "port_device"]
        self._impairment = subprocess.Popen(
            ["nsenter", f"--target={self._keeper_pid}", "--net", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._impairment.stdout
        if self._impairment.stdout.readline() != b"ready\n":
            raise RigUnavailable("the rig cannot impair a link here (tests/rig/lossy.py)")

    def _stop_impairment(self) -> None:
        if self._impairment is None:
            return
        self._impairment.kill()
        self._impairment.wait(20)
        for pipe in (self._impairment.stdin, self._impairment.stdout):
            if pipe:
                pipe.close()
        self._impairment = None

    def _ip(self, *arguments: str) -> None:
        run(["ip", *arguments], timeout_s=20)

    def _ip_in_switch(self, *arguments: str) -> None:
        run(["nsenter", f"--target={self._keeper_pid}", "--net", "ip", *arguments], timeout_s=20)

    def _in_device(self, *argv: str) -> None:
        run(["nsenter", f"--target={self._device_pid}", "--net", *argv], timeout_s=20)
