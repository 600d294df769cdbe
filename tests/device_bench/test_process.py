import os
import sys
import textwrap
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_bench.errors import RunnerError
from device_bench.process import LAST_LINES, run_process, signal_name


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_input_goes_in_and_both_outputs_come_back():
    code = "import sys; print(sys.stdin.read()[::-1]); print('note', file=sys.stderr)"
    assert run_process(python(code), "job", 20) == ("boj\n", "note\n")


@pytest.mark.parametrize(
    ("code", "message", "last"),
    [
        ("import os; print('so far', flush=True); os.abort()", "ended by SIGABRT", "so far"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL (out of memory?)", "printed nothing"),
        ("import sys; sys.exit('no model')", "exit code 1", "no model"),
        ("import time; print('waiting', flush=True); time.sleep(60)", "longer than 1 s", "waiting"),
    ],
)
def test_a_failure_is_one_error_with_the_last_output(code, message, last):
    with pytest.raises(RunnerError) as caught:
        run_process(python(code), "", 1 if "sleep" in code else 20)
    assert message in str(caught.value)
    assert last in str(caught.value)


def test_only_the_last_lines_are_shown():
    with pytest.raises(RunnerError) as caught:
        run_process(python("print(*range(100), sep='\\n'); raise SystemExit(3)"), "", 20)
    shown = [line.strip() for line in str(caught.value).splitlines()[1:]]
    assert shown == [str(i) for i in range(100 - LAST_LINES, 100)]


def test_a_terminal_obeys_nothing_that_a_program_printed():
    with pytest.raises(RunnerError, match=r"exit code 1; its last output:\n  a\tb\?\[2Jü\?\]0;title\?$"):
        run_process(python(r"import sys; sys.exit('a\tb\x1b[2J\xfc\x9d]0;title\x07')"), "", 20)


def test_output_that_is_no_text_does_not_hide_the_error():
    with pytest.raises(RunnerError, match="exit code 1"):
        run_process(python(r"import sys; sys.stdout.buffer.write(b'\xff\xfe'); sys.exit(1)"), "", 20)


def test_a_time_out_ends_the_children_too(tmp_path: Path):
    pid_file = tmp_path / "pid"
    code = (
        "import subprocess, sys, time; "
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); "
        f"open({str(pid_file)!r}, 'w').write(str(child.pid)); time.sleep(60)"
    )
    with pytest.raises(RunnerError, match="longer than"):
        run_process(python(code), "", 3)
    pid = int(pid_file.read_text())
    deadline = time.monotonic() + 10
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_running(pid)


def test_a_child_that_left_the_group_cannot_hold_us_up():
    """It keeps the pipes open, and nothing is ever read to their end."""
    code = """
        import subprocess, sys, time
        print('begun', flush=True)
        child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(8)'], start_new_session=True)
        time.sleep(60)
    """
    start_s = time.monotonic()
    with pytest.raises(RunnerError, match=r"longer than 1 s(?s:.*)begun"):
        run_process(python(textwrap.dedent(code)), "", 1)
    assert time.monotonic() - start_s < 6


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:  # a zombie whose new parent has not fetched it yet is not running
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_program_that_is_not_there():
    with pytest.raises(RunnerError, match="could not be started"):
        run_process(["/no/such/program"], "", 20)


def test_the_environment_is_small(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "7")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    code = "import os; print(os.environ.get('TF_NUM_INTRAOP_THREADS'), os.environ['OMP_NUM_THREADS'])"
    assert run_process(python(code), "", 20)[0] == "None 1\n"


@given(st.integers(-64, 255))
def test_an_exit_code_is_a_signals_or_not(code):
    name = signal_name(code)
    assert (name is not None) == (code < 0 or 128 < code <= 192)
    assert signal_name(-11) == signal_name(139) == "SIGSEGV"
