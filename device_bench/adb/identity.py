"""What an adb device is: asked in one round trip, since a phone takes a moment to answer each."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from device_bench.errors import DeviceUnavailableError
from device_bench.records import DeviceInfo, DeviceKind, Record
from device_bench.shell import Shell

PROPERTIES = (
    "ro.serialno",
    "ro.product.manufacturer",
    "ro.product.model",
    "ro.build.version.release",
    "ro.build.version.sdk",
    "ro.product.cpu.abi",
    "ro.soc.manufacturer",
    "ro.soc.model",
    "ro.hardware",
    "ro.kernel.qemu",
    "ro.boot.qemu",
)

# Android answers the properties; a Linux board the files. `container` of process 1's environment is systemd's way for
# a container manager to say so (systemd.io/CONTAINER_INTERFACE), /.dockerenv is Docker's.
SCRIPT = f"""
for name in {" ".join(PROPERTIES)}; do
  value=$(getprop "$name" 2>/dev/null) && echo "$name=$value"
done
echo "machine=$(uname -m)"
echo "kernel=$(uname -sr)"
. /etc/os-release 2>/dev/null && echo "os=$PRETTY_NAME"
echo "machine-id=$(cat /etc/machine-id 2>/dev/null)"
echo "container=$(cat /run/systemd/container 2>/dev/null)"
tr '\\0' '\\n' 2>/dev/null </proc/1/environ | grep '^container=.'
[ -e /.dockerenv ] && echo "docker=yes"
echo "board=$(tr -d '\\0' 2>/dev/null </proc/device-tree/model)"
echo "cpu=$(grep -m1 -E '^(model name|Hardware|Model)' /proc/cpuinfo)"
echo "vendor=$(grep -m1 ^vendor_id /proc/cpuinfo)"
echo "cpus=$(cat /sys/devices/system/cpu/present 2>/dev/null)"
"""

MAX_LENGTH = 200
"""Of one value: what a device says of itself goes into reports, and is not to be trusted with their size."""


class Identity(Record):
    info: DeviceInfo
    android: bool
    cpus: tuple[int, ...] | None
    """Numbers of the CPUs that there are; None where the kernel does not tell."""


def identify(shell: Shell) -> Identity:
    """Ask the device what it is.

    Raises:
        DeviceUnavailableError: what answers is no device that we know how to use.
    """
    return parse(shell.run(["sh", "-c", SCRIPT]).stdout)


def parse(text: str) -> Identity:
    """The device from the lines of `SCRIPT`."""
    facts = dict(re.findall(r"^([\w.-]+)=(.*?)\s*$", text, re.MULTILINE))
    said = {name: "".join(c for c in value if c.isprintable())[:MAX_LENGTH] for name, value in facts.items()}
    if not said.get("machine"):
        raise DeviceUnavailableError(f"it does not say what it is (answered {text[:80]!r}); is this an adb device?")
    android = bool(said.get("ro.build.version.release"))
    return Identity(info=_android(said) if android else _linux(said), android=android, cpus=_cpus(said))


def _android(said: dict[str, str]) -> DeviceInfo:
    soc = " ".join(filter(None, (said.get("ro.soc.manufacturer"), said.get("ro.soc.model"))))
    model = " ".join(filter(None, (said.get("ro.product.manufacturer"), said.get("ro.product.model"))))
    return DeviceInfo(
        id=f"android-{_hashed(said.get('ro.serialno') or model)}",
        kind=_android_kind(said),
        model=model or "unknown Android device",
        os=f"Android {said['ro.build.version.release']} (API {said.get('ro.build.version.sdk') or '?'})",
        abi=said.get("ro.product.cpu.abi") or said["machine"],
        soc=soc or said.get("ro.hardware") or None,
    )


def _android_kind(said: dict[str, str]) -> DeviceKind:
    """The emulator's own properties, old and new, and the names of its two virtual boards; then as for a board."""
    if "1" in (said.get("ro.kernel.qemu"), said.get("ro.boot.qemu")) or said.get("ro.hardware") in (
        "goldfish",
        "ranchu",
    ):
        return "emulator"
    return _kind(said)


def _linux(said: dict[str, str]) -> DeviceInfo:
    cpu = said.get("cpu", "").partition(":")[2].strip()
    return DeviceInfo(
        id=f"board-{_hashed(said.get('machine-id') or said.get('board') or cpu)}",
        kind=_kind(said),
        model=said.get("board") or cpu or "unknown Linux board",
        os=said.get("os") or said.get("kernel") or "Linux",
        abi=said["machine"],
    )


def _kind(said: dict[str, str]) -> DeviceKind:
    # Under qemu's user emulation the kernel says "aarch64", while /proc/cpuinfo is the real machine's.
    if said["machine"] in ("aarch64", "armv7l", "armv8l") and said.get("vendor"):
        return "emulator"
    if said.get("container") or said.get("docker"):
        return "container"
    return "device"


def _hashed(identity: str) -> str:
    """Serials and machine ids are told to nobody; their hash is as stable."""
    return hashlib.sha256(f"pocketprune:{identity}".encode()).hexdigest()[:12]


def _cpus(said: dict[str, str]) -> tuple[int, ...] | None:
    """From the kernel's list format, such as `0-3,6`."""
    numbers: list[int] = []
    for part in filter(None, said.get("cpus", "").split(",")):
        match: Any = re.fullmatch(r"(\d{1,4})(?:-(\d{1,4}))?", part)
        if match is None:
            return None
        first, last = int(match[1]), int(match[2] or match[1])
        numbers += range(first, last + 1)
    return tuple(numbers) or None
