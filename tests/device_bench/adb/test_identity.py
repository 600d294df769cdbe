import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_bench.adb.identity import identify, parse
from device_bench.errors import DeviceUnavailableError
from device_bench.shell import Finished

PIXEL = """ro.serialno=8A1X0ABCD
ro.product.manufacturer=Google
ro.product.model=Pixel 8
ro.build.version.release=15
ro.build.version.sdk=35
ro.product.cpu.abi=arm64-v8a
ro.soc.manufacturer=Google
ro.soc.model=Tensor G3
ro.hardware=shiba
ro.kernel.qemu=
machine=aarch64
kernel=Linux 5.15.137-android14
machine-id=
container=
cpus=0-8
"""
BOARD = """machine=aarch64
kernel=Linux 6.6.51
os=Debian GNU/Linux 13 (trixie)
machine-id=0123456789abcdef0123456789abcdef
container=
board=Raspberry Pi 5 Model B Rev 1.0
cpus=0-3
"""
CONTAINER = """machine=x86_64
kernel=Linux 6.18.0
os=Debian GNU/Linux 13 (trixie)
machine-id=0123456789abcdef0123456789abcdee
container=
container=rig
cpu=model name	: AMD EPYC
vendor=vendor_id	: AuthenticAMD
cpus=0-1
"""


def test_a_phone():
    identity = parse(PIXEL)
    assert identity.android and identity.cpus == tuple(range(9))
    info = identity.info
    assert (info.kind, info.model, info.os) == ("device", "Google Pixel 8", "Android 15 (API 35)")
    assert (info.abi, info.soc) == ("arm64-v8a", "Google Tensor G3")
    assert info.id.startswith("android-") and "8A1X0ABCD" not in info.id


def test_a_board_and_a_container():
    board, container = parse(BOARD), parse(CONTAINER)
    assert not board.android
    assert (board.info.kind, board.info.model) == ("device", "Raspberry Pi 5 Model B Rev 1.0")
    assert (container.info.kind, container.info.model) == ("container", "AMD EPYC")
    assert board.info.id != container.info.id


@pytest.mark.parametrize(
    "text",
    [
        PIXEL.replace("ro.kernel.qemu=", "ro.kernel.qemu=1"),
        PIXEL.replace("ro.hardware=shiba", "ro.hardware=ranchu"),
        BOARD + "vendor=vendor_id : AuthenticAMD\n",
    ],
)
def test_an_emulator_is_never_taken_for_a_device(text):
    assert parse(text).info.kind == "emulator"


@pytest.mark.parametrize(("listed", "cpus"), [("0", (0,)), ("0-1,4", (0, 1, 4)), ("0-", None), ("", None)])
def test_cpu_numbers(listed, cpus):
    assert parse(BOARD.replace("0-3", listed)).cpus == cpus


@given(st.text(max_size=300))
def test_garbage_is_a_clear_error_or_bounded_text(text):
    try:
        info = parse(text).info
    except DeviceUnavailableError as error:
        assert "adb device" in str(error)
    else:
        assert all(len(str(value)) < 700 for value in info.model_dump().values())


def test_a_value_cannot_flood_a_report():
    info = parse(BOARD.replace("Raspberry Pi 5", "x" * 10_000 + "\x1b[31m")).info
    assert len(info.model) <= 200 and "\x1b" not in info.model


def test_the_script_runs_in_this_machines_shell():
    class Local:
        def run(self, argv, timeout_s=20.0):
            done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout_s)
            assert done.stderr == ""
            return Finished(exit_code=done.returncode, stdout=done.stdout, stderr=done.stderr)

    identity = identify(Local())
    assert identity.info.abi == subprocess.run(["uname", "-m"], capture_output=True, text=True).stdout.strip()
    assert not identity.android
