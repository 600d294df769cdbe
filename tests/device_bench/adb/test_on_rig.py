"""The link on real adbd devices, with the faults that links and devices have."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device_bench.adb import open_link
from device_bench.adb.caller import StorageFullError
from device_bench.adb.connection import AdbConnection
from device_bench.errors import DeviceUnavailableError, RunnerError, TransientDeviceError
from tests.rig.device import RigDevice

MODEL = bytes(range(256)) * 4096 * 3
EVIL = ["a b", "it's", '"', ";id", "$(id)", "`id`", "new\nline", "-n", "*", "ü", "\udcff", "\\", "&", "#", "~", "A=b"]


@pytest.fixture
def connection(rig_device: RigDevice) -> Iterator[AdbConnection]:
    with AdbConnection(open_link(rig_device.spec)) as opened:
        yield opened


def nothing_left(device: RigDevice) -> bool:
    left = [path for path in device.files(f"{device.storage}/pocketprune/runs")]
    return left == [] and device.processes() == [] and device.files(f"{device.storage}/pocketprune/incoming") == []


def after(seconds: float, action: Callable[[], object]) -> threading.Timer:
    timer = threading.Timer(seconds, action)
    timer.start()
    return timer


def test_exit_code_stdout_and_stderr_come_apart(connection: AdbConnection) -> None:
    finished = connection.run(["sh", "-c", "echo out; echo err >&2; exit 7"])
    assert (finished.exit_code, finished.stdout, finished.stderr) == (7, "out\n", "err\n")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(EVIL) | st.text(st.characters(exclude_characters="\0", codec="utf-8")), max_size=4))
def test_arguments_arrive_as_they_are(connection: AdbConnection, words: list[str]) -> None:
    expected = b"".join(word.encode("utf-8", "surrogateescape") + b"\0" for word in words)
    script = 'for word in "$@"; do printf "%s\\0" "$word"; done'
    assert connection._caller.call(["sh", "-c", script, "x", *words], 20.0).stdout == expected


@pytest.mark.parametrize("name", EVIL)
def test_names_of_files_arrive_as_they_are(connection: AdbConnection, name: str) -> None:
    with connection.run_folder() as folder:
        path = f"{folder}/{name}/{name}"
        assert connection.stat(path) is None
        assert connection.push(b"content", path, 0o640)
        assert connection.pull(path) == b"content"
        held = connection.stat(path)
        assert held is not None and held.size_bytes == 7 and held.mode & 0o777 == 0o640
        job = connection.start(["cat", path, "-"], folder, stdin="and\0stdin")
        assert connection.collect(job, 10).stdout == "contentand\0stdin"


def test_content_is_sent_once(connection: AdbConnection, rig_device: RigDevice) -> None:
    path = connection.cached(MODEL, ".tflite")
    assert connection.push(MODEL, path) is False
    (rig_device.root / path.lstrip("/")).write_bytes(b"x" + MODEL[1:])  # same size
    assert connection.push(MODEL, path) is True
    assert connection.pull(path) == MODEL


@pytest.mark.parametrize("through", ["tcp", "server"])
def test_50_mb_over_a_link_with_small_buffers(rig_device: RigDevice, tmp_path: Path, through: str, adb: str) -> None:
    file = tmp_path / "large model.bin"
    file.write_bytes(MODEL * 17)
    rig_device.small_buffers()
    spec = rig_device.spec if through == "tcp" else f"adb+server://{rig_device.host}:{rig_device.port}"
    with AdbConnection(open_link(spec)) as connection:
        started_s = time.monotonic()
        path = connection.cached(file)
        assert time.monotonic() - started_s < 25, "it stalled; the limit of a push is far longer"
        held = connection.stat(path)
        assert held is not None and held.size_bytes == file.stat().st_size > 50_000_000
    assert rig_device.shell(["sha256sum", path]).stdout.split()[0] in path


def test_a_slow_and_lossy_link(connection: AdbConnection, rig_device: RigDevice) -> None:
    rig_device.netem(delay_ms=50, loss_percent=1)
    path = connection.cached(MODEL)
    assert rig_device.shell(["sha256sum", path]).stdout.split()[0] in path


def test_link_down_in_mid_push(connection: AdbConnection, rig_device: RigDevice) -> None:
    rig_device.netem(delay_ms=20, loss_percent=0)
    cut = after(0.5, rig_device.link_down)
    with pytest.raises(TransientDeviceError):
        connection.cached(MODEL * 8)
    cut.join()
    rig_device.link_up()
    connection.cached(MODEL)
    connection.close()
    files = rig_device.files(f"{rig_device.storage}/pocketprune/cache")
    assert len(files) == 1  # half a file never has the final name


def test_link_down_in_mid_run_and_back(connection: AdbConnection, rig_device: RigDevice) -> None:
    with connection.run_folder() as folder:
        job = connection.start(["sh", "-c", "echo before; sleep 14; echo after; exit 3"], folder)
        timers = [after(0.5, rig_device.link_down), after(13.0, rig_device.link_up)]
        finished = connection.collect(job, 60)
        for timer in timers:
            timer.join()
    assert (finished.exit_code, finished.stdout) == (3, "before\nafter\n")
    assert nothing_left(rig_device)


def test_adbd_killed_in_mid_run(connection: AdbConnection, rig_device: RigDevice) -> None:
    with connection.run_folder() as folder:
        job = connection.start(["sh", "-c", "sleep 2; echo done"], folder)
        after(0.3, rig_device.kill_adbd).join()
        assert connection.collect(job, 20).stdout == "done\n"
    assert nothing_left(rig_device)


def test_device_reboots_in_mid_run(connection: AdbConnection, rig_device: RigDevice) -> None:
    with pytest.raises(TransientDeviceError, match=r"vanished|rebooted"), connection.run_folder() as folder:
        job = connection.start(["sleep", "60"], folder)
        timer = after(0.3, rig_device.reboot)
        connection.collect(job, 60)
    timer.join()
    with connection.run_folder() as folder:
        assert connection.collect(connection.start(["echo", "again"], folder), 10).stdout == "again\n"
    assert nothing_left(rig_device)


@pytest.mark.parametrize(("script", "exit_code"), [("kill -SEGV $$", 139), ("exit 9", 9)])
def test_a_job_that_dies_says_how(connection: AdbConnection, script: str, exit_code: int) -> None:
    with connection.run_folder() as folder:
        assert connection.collect(connection.start(["sh", "-c", script], folder), 10).exit_code == exit_code


def test_a_job_that_hangs_is_killed_with_its_children(connection: AdbConnection, rig_device: RigDevice) -> None:
    with (
        pytest.raises(RunnerError, match=r"longer than 1 s and was killed; its last output:\n  partly"),
        connection.run_folder() as folder,
    ):
        job = connection.start(["sh", "-c", "echo partly; setsid sleep 70 & sleep 60"], folder)
        connection.collect(job, 1)
    assert nothing_left(rig_device)


def test_a_command_that_hangs_is_killed(connection: AdbConnection, rig_device: RigDevice) -> None:
    with pytest.raises(RunnerError, match="longer than 1 s"):
        connection.run(["sh", "-c", "sleep 70 & sleep 60"], timeout_s=1)
    assert rig_device.processes() == []
    assert connection.run(["echo", "well"]).stdout == "well\n"


def test_storage_full(connection: AdbConnection, rig_device: RigDevice) -> None:
    with AdbConnection(open_link(rig_device.spec)) as other:
        old = other.cached(b"of another sitting")
    connection.cached(b"used")
    rig_device.fill_storage(leave_bytes=2**20)
    with pytest.raises(StorageFullError, match=r"MB free at .*, 4\.0 MB needed"):
        connection.cached(MODEL)
    assert connection.stat(old) is None
    assert nothing_left(rig_device)
    rig_device.free_storage()
    assert connection.cached(MODEL)


def test_storage_that_fills_up_in_mid_push(connection: AdbConnection, rig_device: RigDevice) -> None:
    file = rig_device.root / rig_device.storage.lstrip("/") / ".rig-fill"
    connection.home  # noqa: B018
    connection._files._make_room = lambda *_: None  # type: ignore[method-assign]  # there was room when it was asked
    rig_device.fill_storage(leave_bytes=2**20)
    started_s = time.monotonic()
    with pytest.raises(StorageFullError):
        connection.cached(MODEL)
    assert time.monotonic() - started_s < 30
    file.unlink()
    assert connection.run(["echo", "well"]).stdout == "well\n"
    assert nothing_left(rig_device)


def test_two_clients_take_turns(rig_device: RigDevice) -> None:
    with AdbConnection(open_link(rig_device.spec)) as first, AdbConnection(open_link(rig_device.spec), 20) as second:
        with first.run_folder() as folder:
            job = first.start(["sh", "-c", "sleep 2; echo first"], folder)
            with (
                AdbConnection(open_link(rig_device.spec), wait_s=0.5) as impatient,
                pytest.raises(TransientDeviceError, match=r"held by .*@"),
                impatient.run_folder(),
            ):
                pass
            closing = after(3.0, first.close)  # an idle client holds the device until it leaves, or for 30 s
            assert first.collect(job, 20).stdout == "first\n"
        with second.run_folder() as folder:
            assert second.collect(second.start(["echo", "second"], folder), 10).stdout == "second\n"
        closing.join()
    assert nothing_left(rig_device)


def test_a_dead_client_is_cleared_away(rig_device: RigDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("device_bench.adb.lock.PATIENCE_S", 0)
    dead = open_link(rig_device.spec)
    client = AdbConnection(dead)
    opened = client.run_folder()  # and never left: that client is dead
    folder = opened.__enter__()
    job = client.start(["sleep", "60"], folder)
    rig_device.shell(["sh", "-c", f"rm {job.folder}/lock"])  # not a live job any more, in the eyes of others
    with AdbConnection(open_link(rig_device.spec), wait_s=5) as other, other.run_folder() as path:
        assert not any("60" in argv for argv in rig_device.processes())
        assert rig_device.files(path.rpartition("/")[0]) == [path.rpartition("/")[2]]
    with pytest.raises(TransientDeviceError, match="gone"):
        client.start(["true"], folder, name="another")
    opened.__exit__(None, None, None)
    dead.close()


def test_nobody_there(rig_device: RigDevice) -> None:
    with pytest.raises(TransientDeviceError, match="refused"):
        open_link(f"adb://{rig_device.host}:5556")
    rig_device.link_down()
    started_s = time.monotonic()
    with pytest.raises(TransientDeviceError):
        open_link(rig_device.spec, connect_s=1.0)
    assert time.monotonic() - started_s < 3


@pytest.mark.parametrize("personality", ["pixel"])
def test_an_ordinary_user_of_a_phone(rig_device: RigDevice, personality: str) -> None:
    rig_device.personality(personality)
    with AdbConnection(open_link(rig_device.spec)) as connection:
        assert connection.base == "/data/local/tmp/pocketprune"
        path = connection.cached(MODEL, ".tflite")
        with connection.run_folder() as folder:
            job = connection.start(["sh", "-c", 'wc -c <"$1"; sleep 60', "x", path], folder)
            with pytest.raises(RunnerError, match=f"  {len(MODEL)}"):
                connection.collect(job, 1)
    assert rig_device.files("/data/local/tmp/pocketprune/runs") == []
    assert not any("60" in argv for argv in rig_device.processes())


def test_through_a_server(rig_device: RigDevice, adb: str) -> None:
    from device_bench.adb.server import server_devices

    serial = f"{rig_device.host}:{rig_device.port}"
    assert (serial, "device") in server_devices()
    with AdbConnection(open_link(f"adb+server://{serial}")) as connection:
        path = connection.cached(MODEL)
        assert connection.pull(path) == MODEL
        with connection.run_folder() as folder:
            job = connection.start(["sh", "-c", "cat; sleep 1; exit 4"], folder, stdin="in")
            finished = connection.collect(job, 10)
            assert (finished.exit_code, finished.stdout) == (4, "in")
        with pytest.raises(RunnerError):
            connection.run(["sleep", "60"], timeout_s=1)
    assert nothing_left(rig_device)


def test_a_server_that_does_not_know_the_device(adb: str) -> None:
    with pytest.raises(DeviceUnavailableError, match="not connected"):
        open_link("adb+server://it's $(not) there")
