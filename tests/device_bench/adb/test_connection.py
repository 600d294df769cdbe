"""Files, jobs and the lock, on this machine with the shells and tools of several kinds of device."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from device_bench.adb import lock
from device_bench.adb.caller import REAP
from device_bench.adb.connection import AdbConnection
from device_bench.adb.files import Home
from device_bench.errors import DeviceUnavailableError, RunnerError, TransientDeviceError, UsageError
from tests.device_bench.adb.local import DEVICES, LocalLink, toolbox

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="plays a Linux device: needs /proc and flock")


@pytest.fixture(params=DEVICES)
def link(request: pytest.FixtureRequest, tmp_path: Path) -> LocalLink:
    tools = tmp_path / "tools"
    tools.mkdir()
    path = toolbox(request.param, tools)
    if path is None:
        pytest.skip(f"needs {request.param}")
    return LocalLink(path)


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    folder = tmp_path / "a device's $(storage)"
    folder.mkdir()
    return folder


@pytest.fixture
def connection(link: LocalLink, storage: Path) -> Iterator[AdbConnection]:
    with AdbConnection(link, wait_s=1.0, bases=["/no/such/folder", str(storage)]) as opened:
        yield opened


def runs(storage: Path) -> list[str]:
    return [path.name for path in (storage / "pocketprune/runs").iterdir()]


def test_a_look_leaves_nothing_there(connection: AdbConnection, storage: Path) -> None:
    assert connection.run(["echo", "hi"]).stdout == "hi\n"
    assert list(storage.iterdir()) == []
    assert connection.base == f"{storage}/pocketprune"
    assert connection.home.sha256_tool == "sha256sum"


def test_no_folder_to_write_in(link: LocalLink) -> None:
    with pytest.raises(DeviceUnavailableError, match=r"none of /proc can be written \(.+\)"):
        AdbConnection(link, bases=["/proc"]).base  # noqa: B018


def test_check_makes_an_exit_code_an_error(connection: AdbConnection) -> None:
    with pytest.raises(RunnerError, match="sh ended with exit code 3: reason"):
        connection.run(["sh", "-c", "echo reason >&2; exit 3"], check=True)


@pytest.mark.parametrize("name", ["a b", "it's", '"$(id)";`id`', "new\nline", "-n", "\udcff", "ü,0644"])
def test_files_come_and_go_whatever_their_name(connection: AdbConnection, storage: Path, name: str) -> None:
    path = f"{storage}/{name}/{name}"
    assert connection.stat(path) is None
    assert connection.push(b"\0\r\n\xff", path, 0o751) is True
    assert connection.push(b"\0\r\n\xff", path, 0o640) is False
    assert connection.pull(path) == b"\0\r\n\xff"
    assert connection.sha256(path) == hashlib.sha256(b"\0\r\n\xff").hexdigest()
    held = connection.stat(path)
    assert held is not None and (held.size_bytes, held.mode & 0o777) == (4, 0o640)
    assert abs(held.modified_s - time.time()) < 60


def test_a_file_damaged_on_its_way_is_sent_again_once(
    connection: AdbConnection, link: LocalLink, storage: Path
) -> None:
    link.damage = 1
    connection.push(b"content", f"{storage}/file")
    assert connection.pull(f"{storage}/file") == b"content"
    link.damage = 2
    with pytest.raises(TransientDeviceError, match="damaged twice"):
        connection.push(b"other", f"{storage}/file")
    assert connection.pull(f"{storage}/file") == b"content"
    assert list((storage / "pocketprune/incoming").iterdir()) == []


def test_without_a_tool_for_hashes_sizes_are_compared(
    connection: AdbConnection, link: LocalLink, storage: Path
) -> None:
    connection.__dict__["home"] = Home(base=connection.base, sha256_tool="")
    link.damage = 1
    connection.push(b"content", f"{storage}/file")
    assert connection.push(b"CONTENT", f"{storage}/file") is True  # a size alone says nothing about it
    assert connection.pull(f"{storage}/file") == b"CONTENT"
    assert connection.sha256(f"{storage}/file") == hashlib.sha256(b"CONTENT").hexdigest()
    path = connection.cached(b"content")
    assert connection.push(b"content", path) is False


@pytest.mark.parametrize("target", ["relative", ""])
def test_a_path_must_be_absolute(connection: AdbConnection, target: str) -> None:
    for action in (
        lambda: connection.push(b"", target),
        lambda: connection.pull(target),
        lambda: connection.sha256(target),
        lambda: connection.stat(target),
    ):
        with pytest.raises(UsageError, match="absolute"):
            action()


def test_wrong_sources_and_targets(connection: AdbConnection, storage: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        connection.cached(storage / "missing")
    with pytest.raises(UsageError, match="a folder of the device"):
        connection.push(b"x", str(storage))
    with pytest.raises(UsageError, match="suffix"):
        connection.cached(b"x", "/../x")
    with pytest.raises(DeviceUnavailableError, match="cannot be read"):
        connection.pull(f"{storage}/missing")
    with pytest.raises(DeviceUnavailableError, match="cannot be hashed"):
        connection.sha256(f"{storage}/missing")
    with pytest.raises(RunnerError, match="too much"):
        connection.push(b"x" * 500_000, f"{storage}/big")
        connection.pull(f"{storage}/big", limit_bytes=1000)


def test_the_cache_drops_what_was_used_longest_ago(
    connection: AdbConnection, storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("device_bench.adb.files.CACHE_BYTES", 3000)
    cache = Path(connection.base) / "cache"
    old = [cache / f"{number:064x}" for number in range(3)]
    for age, path in enumerate(reversed(old)):
        path.write_bytes(b"x" * 900)
        subprocess.run(["touch", "-d", f"@{1_700_000_000 - age}", path], check=True)
    (cache / "of the user").write_bytes(b"y")
    used = Path(connection.cached(b"z" * 900, ".tflite", 0o755))
    assert used.stat().st_mode & 0o777 == 0o755
    assert [path.exists() for path in old] == [False, True, True]
    connection.cached(b"w" * 2500)
    assert [path.exists() for path in old] == [False, False, False]
    assert used.exists() and (cache / "of the user").exists()


def test_a_job_gives_what_a_process_gives(connection: AdbConnection, storage: Path) -> None:
    with connection.run_folder() as folder:
        assert runs(storage) == [Path(folder).name]
        job = connection.start(["sh", "-c", "cat; pwd; echo $TMPDIR; echo e >&2; exit 9", "it's"], folder, "in\0put\n")
        finished = connection.collect(job, 10)
        assert (finished.exit_code, finished.stdout) == (9, f"in\0put\n{folder}\n{folder}\n")
        assert finished.stderr == "e\n"
        killed = connection.start(["sh", "-c", "kill -SEGV $$"], folder, name="killed")
        assert connection.collect(killed, 10).exit_code == 139
        missing = connection.start(["no such program"], folder, name="missing")
        assert connection.collect(missing, 10).exit_code == 127
    assert runs(storage) == []


@pytest.mark.parametrize("fault", ["breaks", "late"])
def test_a_job_starts_once_and_is_found_again_after_a_broken_link(
    connection: AdbConnection, link: LocalLink, fault: str, storage: Path
) -> None:
    with connection.run_folder() as folder:
        setattr(link, fault, 1)
        job = connection.start(["sh", "-c", "echo x >>count; sleep 0.3; cat count"], folder)
        setattr(link, fault, 1)
        assert connection.collect(job, 10).stdout == "x\n"
        setattr(link, fault, 1)
    assert runs(storage) == []


def test_waiting_ends_when_the_job_does(connection: AdbConnection) -> None:
    with connection.run_folder() as folder:
        started_s = time.monotonic()
        job = connection.start(["sleep", "0.5"], folder)
        assert time.monotonic() - started_s < 0.4
        connection.collect(job, 10)
        assert 0.5 <= time.monotonic() - started_s < 1.0


def test_a_job_that_hangs_is_killed_with_its_last_words(connection: AdbConnection) -> None:
    with connection.run_folder() as folder:
        job = connection.start(["sh", "-c", "echo last words; setsid sleep 61 & sleep 62"], folder)
        with pytest.raises(RunnerError, match=r"longer than 1 s and was killed; its last output:\n  last words"):
            connection.collect(job, 1)
        assert not alive(job.mark)


def test_a_sampler_runs_beside_a_job_until_it_is_stopped(connection: AdbConnection) -> None:
    with connection.run_folder() as folder:
        sampler = connection.start(["sh", "-c", "while :; do echo sample; sleep 0.1; done"], folder, name="sampler")
        connection.collect(connection.start(["sleep", "0.3"], folder), 10)
        connection.stop(sampler)
        assert not alive(sampler.mark)
        assert connection.pull(sampler.stdout_path).startswith(b"sample\nsample\n")


def test_a_job_that_was_killed_vanished(connection: AdbConnection) -> None:
    with connection.run_folder() as folder:
        job = connection.start(["sleep", "63"], folder)
        connection._caller.reap(job.mark)
        with pytest.raises(TransientDeviceError, match="vanished"):
            connection.collect(job, 10)
        with pytest.raises(TransientDeviceError, match="rebooted"):
            connection.collect(job.model_copy(update={"boot_id": "another"}), 10)


@pytest.mark.skipif(os.getuid() != 0, reason="becomes another user")
@pytest.mark.parametrize("shell", [["mksh"], ["busybox", "sh"], ["dash"]], ids=" ".join)
def test_nothing_is_started_for_processes_that_this_user_may_not_look_into(shell: list[str]) -> None:
    if shutil.which(shell[0]) is None:
        pytest.skip(f"needs {shell[0]}")
    counted = 'grep() { echo asked >&2; command grep "$@"; }\n'
    script = [*shell, "-c", counted + REAP + 'reap "$1"', "sh", "^NO_SUCH="]
    asked = subprocess.run(script, capture_output=True, text=True, user=65534, cwd="/", check=True).stderr
    assert 1 <= asked.count("asked") <= 3


def test_the_end_of_a_run_leaves_a_file_that_another_client_sends(connection: AdbConnection, storage: Path) -> None:
    arriving = storage / "pocketprune/incoming/another-clients"
    with connection.run_folder():
        arriving.write_text("half of it")
    assert arriving.exists()


def test_a_run_that_fails_leaves_nothing(connection: AdbConnection, storage: Path) -> None:
    with pytest.raises(KeyboardInterrupt), connection.run_folder() as folder:
        job = connection.start(["sleep", "64"], folder)
        raise KeyboardInterrupt
    assert runs(storage) == []
    assert not alive(job.mark)


def test_what_could_not_be_cleared_is_cleared_before_the_next_run(
    connection: AdbConnection, link: LocalLink, storage: Path
) -> None:
    with connection.run_folder() as folder:
        job = connection.start(["sleep", "65"], folder)
        link.breaks = 2
    assert len(runs(storage)) == 1
    with connection.run_folder() as folder:
        assert runs(storage) == [Path(folder).name]
        assert not alive(job.mark)


def test_a_command_that_hangs_is_killed(connection: AdbConnection) -> None:
    with pytest.raises(RunnerError, match="longer"):
        connection.run(["sleep", "66"], timeout_s=0.5)
    assert not alive("sleep\\0" + "66")


def test_another_client_waits_and_is_told_for_whom(connection: AdbConnection, link: LocalLink, storage: Path) -> None:
    with AdbConnection(link, wait_s=0.5, bases=[str(storage)]) as other:
        with connection.run_folder() as folder:
            job = connection.start(["sleep", "3"], folder)
            calls = link.calls
            with (
                pytest.raises(TransientDeviceError, match=r"held by .*@.* \(process \d+\) since .* UTC"),
                other.run_folder(),
            ):
                pass
            # It looked for its folder, asked, waited without asking again, was killed, and asked once more.
            assert link.calls - calls == 5
            connection.stop(job)
        connection.close()
        with other.run_folder():
            assert len(runs(storage)) == 1


@pytest.mark.parametrize("reason", ["idle", "rebooted", "damaged"])
def test_a_lost_client_is_taken_over(
    connection: AdbConnection, link: LocalLink, storage: Path, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = storage / "pocketprune/owner"
    with connection.run_folder() as folder:
        if reason == "idle":
            monkeypatch.setattr(lock, "PATIENCE_S", 0)
        elif reason == "rebooted":
            lines = owner.read_text().splitlines()
            owner.write_text("\n".join([lines[0], "another boot", *lines[2:]]) + "\n")
        else:
            owner.write_bytes(b"\xff\n$(touch hacked)\n; id\n")
        with AdbConnection(link, wait_s=0.5, bases=[str(storage)]) as other, other.run_folder() as theirs:
            assert runs(storage) == [Path(theirs).name]
            with pytest.raises(TransientDeviceError, match="gone"):
                connection.start(["true"], folder)
    assert not (storage / "pocketprune/hacked").exists()


@pytest.mark.parametrize("known", [True, False])
def test_a_client_on_this_machine_that_has_ended_is_taken_over_at_once(
    connection: AdbConnection, link: LocalLink, storage: Path, known: bool, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    opened = connection.run_folder()  # and never left
    job = connection.start(["sleep", "68"], opened.__enter__())
    assert len(list(tmp_path.glob("pocketprune-client-*"))) == 1
    if known:
        connection._lock.close()  # as the kernel does
    with AdbConnection(link, wait_s=0.5, bases=[str(storage)]) as other:
        if known:
            with other.run_folder() as theirs:
                assert runs(storage) == [Path(theirs).name] and not alive(job.mark)
        else:
            with pytest.raises(TransientDeviceError, match="held by"), other.run_folder():
                pass
            connection.stop(job)
            connection._lock.release(connection.base)
    assert list(tmp_path.glob("pocketprune-client-*")) == []


@pytest.mark.parametrize(("until", "taken"), [("1", True), ("999999999", False), ("", False)])
def test_a_job_that_is_overdue_keeps_nobody_out(
    connection: AdbConnection, link: LocalLink, storage: Path, until: str, taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "PATIENCE_S", 0)
    with connection.run_folder() as folder:
        job = connection.start(["sleep", "69"], folder)
        Path(job.folder, "until").write_text(until + "\n" * bool(until))
        with AdbConnection(link, wait_s=0.3, bases=[str(storage)]) as other:
            if taken:
                with other.run_folder():
                    assert not alive(job.mark)
            else:
                with pytest.raises(TransientDeviceError, match="held by"), other.run_folder():
                    pass
                assert alive(job.mark)


def test_who_sends_a_file_is_alive_and_nothing_half_sent_stays(
    connection: AdbConnection, link: LocalLink, storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "PATIENCE_S", 0)
    arriving = storage / "pocketprune/incoming/file"
    with AdbConnection(link, wait_s=0.3, bases=[str(storage)]) as other:
        with connection.run_folder():
            arriving.write_bytes(b"half")
            with pytest.raises(TransientDeviceError, match="held by"), other.run_folder():
                pass
            os.utime(arriving, (1, 1))
            with other.run_folder():
                assert not arriving.exists()
        own = Path(f"{connection._files.incoming}-half")
        with connection.run_folder():
            own.write_bytes(b"half")
        assert not own.exists()


def alive(mark: str) -> bool:
    """Is there a process that has this in its environment or on its command line?"""
    wanted = mark.replace("\\0", "\0").encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (process / "environ").read_bytes() or wanted in (process / "cmdline").read_bytes():
                return True
        except OSError:
            continue
    return False


def test_an_owners_note_that_is_garbage_is_no_program(link: LocalLink, storage: Path, tmp_path: Path):
    with AdbConnection(link, bases=[str(storage)]) as connection:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        note = f"somebody\n{boot}\nrest[$(touch {tmp_path}/oops)0]\nwho\n"
        (Path(connection.base) / "owner").write_text(note)
        with connection.run_folder() as folder:
            assert connection.stat(folder)
    assert not (tmp_path / "oops").exists()
