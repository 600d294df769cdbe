"""adb: how commands and files get to an Android phone or a Linux board, over TCP, USB or an adb server.

connection.py   AdbConnection, what the rest of the package uses
caller.py  files.py  jobs.py  lock.py  sampling.py     its parts
shell.py        the one place that writes command lines
link.py         what a link is;  tcp_usb.py, server.py  the two that there are (keys.py, transport.py: under the first)
identity.py  choose.py  trials.py                      what a device is, what runs models there, what a self-test tries
"""

from __future__ import annotations

from device_bench.adb.link import AUTH_S, CONNECT_S, Link
from device_bench.errors import UsageError

DEFAULT_PORT = 5555


def open_link(spec: str, connect_s: float = CONNECT_S, auth_s: float = AUTH_S) -> Link:
    """Join the device of `adb://HOST[:PORT]`, `adb+usb://SERIAL` or `adb+server://SERIAL`.

    Raises:
        UsageError: the spec is none of these.
        DeviceUnavailableError: the device cannot be joined.
    """
    scheme, _, name = spec.partition("://")
    if scheme == "adb":
        from device_bench.adb.tcp_usb import AdbShellLink

        host, port = split_address(spec)
        return AdbShellLink.tcp(host, port, connect_s, auth_s)
    if scheme == "adb+usb" and name:
        from device_bench.adb.tcp_usb import AdbShellLink

        return AdbShellLink.usb(name, connect_s, auth_s)
    if scheme == "adb+server" and name:
        from device_bench.adb.server import ServerLink

        return ServerLink(name, connect_s)
    raise UsageError(f"device {spec!r}: write adb://HOST:PORT, adb+usb://SERIAL or adb+server://SERIAL")


def split_address(spec: str) -> tuple[str, int]:
    """Host and port of `adb://HOST[:PORT]`; an IPv6 address stands in brackets if a port follows.

    Raises:
        UsageError: there is no host, or the port is no number from 1 to 65535.
    """
    address = spec.partition("://")[2]
    if address.startswith("["):
        host, _, rest = address[1:].partition("]")
        port = rest.removeprefix(":")
    elif address.count(":") > 1:
        host, port = address, ""
    else:
        host, _, port = address.partition(":")
    port = port or str(DEFAULT_PORT)
    if not host or not port.isascii() or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise UsageError(f"device {spec!r}: write adb://HOST:PORT, with a port from 1 to 65535")
    return host, int(port)
