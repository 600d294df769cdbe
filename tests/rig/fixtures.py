"""The rig for tests: `rig_device` is one device, `rig_pair` two at once; each test gets them clean.

Where the rig cannot be had, the tests are skipped with the reason; with POCKETPRUNE_REQUIRE_RIG=1 they fail.
`rig_emulator` is an arm64 device, with POCKETPRUNE_EMULATOR=1 only.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.rig.build import RigUnavailable
from tests.rig.device import RigDevice, check_rig

REQUIRED = "POCKETPRUNE_REQUIRE_RIG"
EMULATOR = "POCKETPRUNE_EMULATOR"


@pytest.fixture(scope="session")
def rig() -> None:
    """The rig can be had; builds it where that has not been done yet (a minute)."""
    try:
        check_rig()
    except RigUnavailable as error:
        if os.environ.get(REQUIRED) == "1":
            pytest.fail(f"{REQUIRED}=1, but {error}")
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def rig_devices(rig: None) -> Iterator[tuple[RigDevice, RigDevice]]:
    with ExitStack() as stack:
        yield stack.enter_context(RigDevice()), stack.enter_context(RigDevice())


@pytest.fixture
def rig_device(rig_devices: tuple[RigDevice, RigDevice]) -> RigDevice:
    """A plain Linux board, newly switched on; `personality()` makes a phone of it."""
    device = rig_devices[0]
    device.personality("board")
    return device


@pytest.fixture
def rig_pair(rig_device: RigDevice, rig_devices: tuple[RigDevice, RigDevice]) -> tuple[RigDevice, RigDevice]:
    """Two boards at once, newly switched on."""
    rig_devices[1].personality("board")
    return rig_devices


@pytest.fixture
def rig_emulator() -> Iterator[RigDevice]:
    """A board with an arm64 processor that qemu plays: right results, meaningless times. Off by default."""
    if os.environ.get(EMULATOR) != "1":
        pytest.skip(f"needs {EMULATOR}=1 (and four minutes to build it the first time)")
    with RigDevice(arch="arm64") as device:
        yield device
