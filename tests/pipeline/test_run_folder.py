"""Stages appear whole or not at all; what is damaged, full or locked is one clear message."""

import errno
import json
import multiprocessing
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import run_folder
from pipeline.errors import DamagedFileError, StorageError
from pipeline.records import GroupPlan
from pipeline.run_folder import (
    RunFolder,
    append_json_line,
    file_sha256,
    hash_json,
    read_json_lines,
    write_bytes,
    write_json,
    writing,
)


def write_one(work: Path) -> None:
    (work / "sub").mkdir(exist_ok=True)
    (work / "sub" / "result.json").write_text("{}")


def test_a_stage_is_done_once_and_again_when_its_inputs_change(tmp_path: Path) -> None:
    folder, calls = RunFolder(tmp_path / "run"), []

    def work(path: Path) -> None:
        calls.append(path.name)
        write_one(path)

    first = folder.run_stage("search", "a", work)
    assert folder.run_stage("search", "a", work) == first
    assert calls == ["search.partial"]
    assert not list(folder.path.glob("*.partial")) and not (folder.stage("search") / "inputs.json").exists()
    assert folder.run_stage("search", "b", work).inputs == "b"
    assert folder.run_stage("search", "b", work, fresh=True).inputs == "b"
    assert len(calls) == 3


def test_an_interrupted_stage_keeps_what_it_had_and_the_old_result_until_the_new_is_whole(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.run_stage("search", "old", write_one)

    def interrupted(work: Path) -> None:
        append_json_line(work / "log.jsonl", {"n": 1})
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        folder.run_stage("search", "new", interrupted)
    kept = folder.done("search")
    assert kept is not None and kept.inputs == "old"
    seen = []
    folder.run_stage("search", "new", lambda work: seen.append((work / "log.jsonl").exists()))
    folder.run_stage("search", "newer", lambda work: seen.append((work / "log.jsonl").exists()))
    assert seen == [True, False]  # other inputs do not inherit


class Killed(BaseException):
    """Stands for the system's SIGKILL at one call."""


@pytest.mark.parametrize("instant", range(5))
def test_a_stage_killed_while_it_is_put_in_place_is_not_worked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, instant: int
) -> None:
    folder, calls = RunFolder(tmp_path / "run"), []
    folder.run_stage("search", "old", write_one)

    def work(path: Path) -> None:
        calls.append(path)
        (path / "new.json").write_text("{}")

    # The calls that change what is on the disk once the work is done, in their order; the process dies before one.
    left = [instant]

    def dying(function: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            if calls and left[0] == 0:
                raise Killed
            left[0] -= bool(calls)
            return function(*arguments, **options)

        return call

    with monkeypatch.context() as patch:
        for owner, name in ((Path, "unlink"), (Path, "rename"), (shutil, "rmtree")):
            patch.setattr(owner, name, dying(getattr(owner, name)))
        with pytest.raises(Killed):
            folder.run_stage("search", "new", work)
    done = folder.run_stage("search", "new", work)
    assert done.inputs == "new" and set(done.outputs) == {"new.json"}
    assert len(calls) == 1
    assert folder.done("search") == done
    folder.run_stage("search", "newer", write_one)
    assert not list(folder.path.glob("*.old")) and not list(folder.path.glob("*.partial"))


@pytest.mark.parametrize("damage", ["change", "remove", "note"])
def test_a_damaged_file_is_named_with_what_rebuilds_it(tmp_path: Path, damage: str) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.run_stage("baseline", "a", write_one)
    file = folder.stage("baseline") / ("done.json" if damage == "note" else "sub/result.json")
    file.unlink() if damage == "remove" else file.write_text("{} ")
    with pytest.raises(DamagedFileError, match=rf"{file.name}: not what the baseline stage wrote.*remove .*baseline"):
        folder.done("baseline")


def test_damage_matters_only_where_the_stage_is_kept(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "my run")
    folder.run_stage("report", "a", write_one)
    file = folder.stage("report") / "sub" / "result.json"
    file.write_text("edited")
    remedy = rf"remove .*report and run `pocketprune run '{folder.path}/config\.yaml' --run-dir '{folder.path}'`$"
    with pytest.raises(DamagedFileError, match=remedy):
        folder.run_stage("report", "a", write_one)
    assert folder.run_stage("report", "a", write_one, renewable=True) and file.read_text() == "{}"
    (folder.stage("report") / "done.json").write_text("{")
    assert folder.run_stage("report", "a", write_one, renewable=True) == folder.done("report")
    file.write_text("edited")
    assert folder.run_stage("report", "b", write_one).inputs == "b"


def test_a_kept_stage_is_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, hashed = RunFolder(tmp_path / "run"), []
    folder.run_stage("search", "a", write_one)

    def noted(path: Path) -> str:
        hashed.append(path.name)
        return file_sha256(path)

    monkeypatch.setattr(run_folder, "file_sha256", noted)
    folder.run_stage("search", "a", write_one)
    assert hashed == ["result.json"]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EROFS, "read-only file system"),
        (errno.EACCES, "cannot be written by this user"),
        (errno.EDQUOT, "quota"),
        (errno.ENOENT, "it is not there"),
    ],
)
def test_what_a_disk_can_do(tmp_path: Path, code: int, message: str) -> None:
    folder = RunFolder(tmp_path / "run")

    def fails(work: Path) -> None:
        raise OSError(code, os.strerror(code), str(work / "model.safetensors"))

    with pytest.raises(StorageError, match=rf"model\.safetensors: .*{message}.*what is done is kept"):
        folder.run_stage("baseline", "a", fails)


def test_other_errors_of_the_system_are_not_hidden(tmp_path: Path) -> None:
    with pytest.raises(ConnectionResetError), writing(tmp_path):
        raise ConnectionResetError(errno.ECONNRESET, "reset")


def test_a_full_disk_leaves_no_half_file(tmp_path: Path) -> None:
    """/dev/full answers every write with ENOSPC, as a full disk does."""
    with pytest.raises(StorageError, match="the disk is full"), writing(tmp_path), open("/dev/full", "wb") as full:
        full.write(b"x" * 100_000)
    write_bytes(tmp_path / "a", b"old")
    with pytest.raises(TypeError):
        write_bytes(tmp_path / "a", "not bytes")  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["a"] and (tmp_path / "a").read_bytes() == b"old"


def _hold(path: Path, ready: "multiprocessing.synchronize.Event", stop: "multiprocessing.synchronize.Event") -> None:
    with RunFolder(path).locked():
        ready.set()
        stop.wait(30)


def test_two_processes_do_not_work_in_one_run(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready, stop = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path, ready, stop))
    other.start()
    assert ready.wait(60)
    with pytest.raises(StorageError, match="another process is working"), RunFolder(tmp_path).locked():
        raise AssertionError("locked twice")
    other.kill()
    other.join()
    with RunFolder(tmp_path).locked():
        assert (tmp_path / ".lock").exists()


@given(lines=st.lists(st.sets(st.integers(0, 9), min_size=1), max_size=5), cut=st.integers(0, 10_000))
def test_a_log_cut_anywhere_loses_at_most_the_line_that_was_being_written(
    lines: list[set[int]], cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("log") / "log.jsonl"
    records = [GroupPlan(channels=10, kept=tuple(sorted(kept))) for kept in lines]
    for record in records:
        append_json_line(path, record)
    content = path.read_bytes() if records else b""
    cut = min(cut, len(content))
    path.write_bytes(content[:cut])
    complete = content[:cut].count(b"\n")
    assert read_json_lines(GroupPlan, path) == records[:complete]
    append_json_line(path, GroupPlan(channels=1, kept=(0,)))
    assert len(read_json_lines(GroupPlan, path)) == complete + 1


def test_json_has_no_nan_and_hashes_do_not_depend_on_order(tmp_path: Path) -> None:
    assert hash_json({"a": 1, "b": 2}) == hash_json({"b": 2, "a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    write_json(tmp_path / "a.json", {"x": [GroupPlan(channels=1, kept=(0,))]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": [{"channels": 1, "kept": [0]}]}
