"""Command lines mean the same to every shell, whatever is in them."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device_bench.adb.shell import MAX_STDERR_BYTES, Call, RawFinished, command_line, quote
from device_bench.errors import TransientDeviceError, UsageError

SHELLS = [["dash"], ["bash"], ["mksh"], ["busybox", "sh"]]
AVAILABLE = [shell for shell in SHELLS if shutil.which(shell[0])]
HARD = st.sampled_from(["'", '"', ";", "$(id)", "`", "\n", "\\", "-n", "*", "A=b", "if", "\udcff", "\udc80\n", "é", ""])
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])) | st.lists(HARD).map("".join)


def call(shell: list[str], argv: list[str]) -> RawFinished:
    made = Call(argv)
    finished = subprocess.run([*shell, "-c", made.line], capture_output=True, timeout=20)
    assert finished.stderr == b""  # where a link joins it with stdout it would be taken for output
    return made.finish(finished.stdout)


@pytest.fixture(params=AVAILABLE, ids=lambda shell: shell[0])
def shell(request: pytest.FixtureRequest) -> list[str]:
    found: list[str] = request.param
    return found


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(TEXT, max_size=4))
def test_words_arrive_as_they_are(shell: list[str], words: list[str]) -> None:
    finished = call(shell, ["printf", r"%s\0", *words])
    assert finished.stdout == b"".join(word.encode("utf-8", "surrogateescape") + b"\0" for word in words or [""])


@pytest.mark.parametrize("name", ["A=b", "if", "{", "no such program", "$(true)", "~"])
def test_the_first_word_is_a_program(shell: list[str], name: str) -> None:
    assert call(shell, [name]).exit_code == 127


@pytest.mark.parametrize(
    ("script", "exit_code", "stdout", "stderr"),
    [
        ("exit 3", 3, b"", b""),
        ("printf out; printf err >&2", 0, b"out", b"err"),
        (r"printf '\0\r\n\377\n\n'", 0, b"\0\r\n\xff\n\n", b""),
        (r"printf 'a\n\nb\n' >&2; exit 255", 255, b"", b"a\n\nb\n"),
        ("kill -TERM $$", 143, b"", None),
        ("cat; echo end", 0, b"end\n", b""),
        ("echo x >&3", None, b"", None),  # no descriptor of ours is open in a command
    ],
)
def test_the_parts_of_the_answer(
    shell: list[str], script: str, exit_code: int | None, stdout: bytes, stderr: bytes | None
) -> None:
    finished = call(shell, ["sh", "-c", script])
    assert finished.exit_code == exit_code if exit_code is not None else finished.exit_code != 0
    assert finished.stdout == stdout
    assert stderr is None or finished.stderr == stderr


def test_a_program_that_floods_stderr_is_cut(shell: list[str]) -> None:
    finished = call(shell, ["sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' x >&2; exit 7"])
    assert finished.exit_code == 7
    assert len(finished.stderr) <= MAX_STDERR_BYTES


def test_a_program_that_prints_its_environment_and_its_command_line_fools_nobody(shell: list[str]) -> None:
    finished = call(shell, ["sh", "-c", "env >&2; tr '\\0' '\\n' </proc/$PPID/cmdline >&2; exit 5"])
    assert finished.exit_code == 5
    assert finished.stdout == b""


@given(st.binary(max_size=200))
def test_an_answer_without_its_end_is_a_broken_link(output: bytes) -> None:
    with pytest.raises(TransientDeviceError):
        Call(["true"]).finish(output)


@settings(deadline=None, max_examples=20)
@given(cut=st.integers(min_value=1, max_value=30))
def test_a_cut_answer_never_passes(cut: int) -> None:
    made = Call(["sh", "-c", "echo out; echo err >&2"])
    output = subprocess.run(["sh", "-c", made.line], capture_output=True, timeout=20).stdout
    if cut == 1:  # only the last line's end is missing: everything is there
        assert made.finish(output[:-cut]).exit_code == 0
        return
    with pytest.raises(TransientDeviceError):
        made.finish(output[:-cut])


@pytest.mark.parametrize("word", ["nul\0", "half \ud800"])
def test_what_cannot_be_sent_is_a_usage_error(word: str) -> None:
    with pytest.raises(UsageError, match="remove it"):
        quote(word)


def test_no_command_and_too_long_a_command_are_usage_errors() -> None:
    with pytest.raises(UsageError, match="empty"):
        command_line([])
    with pytest.raises(UsageError, match="in a file"):
        Call(["echo", "x" * 70_000])
