"""The user's own list of devices that cannot be found by asking around: TCP addresses, in `devices.yaml`.

    devices:
      - adb://192.168.1.20:5555
      - adb://rack3-phone7:5555

Looked for in $POCKETPRUNE_DEVICES, then ./devices.yaml, then ~/.config/pocketprune/devices.yaml; the first one counts.
"""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import ValidationError

from device_bench.errors import UsageError
from device_bench.records import Record

VARIABLE = "POCKETPRUNE_DEVICES"
FORM = "write `devices:` and under it one device spec a line, such as `- adb://192.168.1.20:5555`"


class KnownDevices(Record):
    devices: tuple[str, ...] = ()


def known_devices(scheme: str) -> tuple[str, ...]:
    """The specs of one scheme, such as `adb`, in the order of the file; none without a file.

    Raises:
        UsageError: the file is named and not there, or is no such list.
    """
    path = _find()
    if path is None:
        return ()
    specs = _read(path).devices
    wrong = [spec for spec in specs if "://" not in spec]
    if wrong:
        raise UsageError(f"{path}: {wrong[0]!r} is no device spec; {FORM}")
    return tuple(dict.fromkeys(spec for spec in specs if spec.startswith(f"{scheme}://")))


def _find() -> Path | None:
    named = os.environ.get(VARIABLE)
    if named:
        if not Path(named).is_file():
            raise UsageError(f"{VARIABLE}={named}: no such file; {FORM}, or unset the variable")
        return Path(named)
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    usual = (Path("devices.yaml"), config / "pocketprune" / "devices.yaml")
    return next((path for path in usual if path.is_file()), None)


def _read(path: Path) -> KnownDevices:
    import yaml  # here, since most commands never need it

    try:
        return KnownDevices.model_validate(yaml.safe_load(path.read_text()) or {})
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValidationError) as error:
        raise UsageError(f"{path}: not a list of devices ({str(error).splitlines()[0]}); {FORM}") from error
