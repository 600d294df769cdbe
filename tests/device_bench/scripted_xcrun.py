"""An `xcrun` and an `xcode-select` that do as they are told, one reply after another, and tell of every other call."""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path
from typing import Any

import pytest

ANY = "*"
"""Stands for an argument that a test cannot know, such as a temporary folder."""

PROGRAM = """#!{python} -IS
import json, os, pathlib, signal, subprocess, sys, time

home = pathlib.Path({home!r})
script = json.loads((home / "script.json").read_text())
number = int((home / "count").read_text())
(home / "count").write_text(str(number + 1))
called = [os.path.basename(sys.argv[0]), *sys.argv[1:]]
reply = script[number] if number < len(script) else {{"argv": []}}
fits = len(reply["argv"]) == len(called) and all(w in ("*", c) for w, c in zip(reply["argv"], called))
leaked = [name for name in os.environ if name.startswith("SIMCTL_CHILD_")]
if not fits or leaked:
    with (home / "faults").open("a") as file:
        file.write(f"call {{number}}: {{called}}, expected {{reply['argv']}}, leaked {{leaked}}\\n")
    sys.exit("unexpected call")
if reply["makes"] == "model":
    folder = pathlib.Path(called[4]) / (pathlib.Path(called[3]).stem + ".mlmodelc")
    folder.mkdir()
    (folder / "coremldata.bin").write_text("compiled")
elif reply["makes"] is not None:
    program = pathlib.Path(called[-1])
    program.write_text(reply["makes"])
    program.chmod(0o755)
if reply["job"]:
    (home / "job.json").write_text(pathlib.Path(called[5]).read_text())
if reply["hangs"] is not None:
    left = subprocess.Popen(["sleep", "60"], start_new_session=True, stdout=2)
    (home / "left").write_text(str(left.pid))
    if reply["job"]:
        pathlib.Path(called[6]).write_text(str(left.pid))
    if reply["hangs"] == "interrupted":
        os.kill(os.getppid(), signal.SIGINT)
    time.sleep(60)
sys.stdout.write(reply["stdout"])
sys.stderr.write(reply["stderr"])
sys.exit(reply["exit_code"])
"""


class ScriptedXcrun:
    """Expects calls in their order; `done()` says whether all came, and none besides."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._script: list[dict[str, Any]] = []
        (home / "bin").mkdir(parents=True)
        (home / "count").write_text("0")
        for name in ("xcrun", "xcode-select"):
            (home / "bin" / name).write_text(PROGRAM.format(python=sys.executable, home=str(home)))
            (home / "bin" / name).chmod(0o755)
        self._write()

    def expect(
        self,
        *argv: str,
        stdout: str = "",
        stderr: str = "",
        exit_code: int = 0,
        makes: str | None = None,
        job: bool = False,
        hangs: str | None = None,
    ) -> None:
        """
        Args:
            makes: "model" to compile argument 3 into argument 4, else the text of a program to leave at the last.
            job: argument 5 is a job, to be kept for `job()`.
            hangs: "silent", or "interrupted" to send the caller a Ctrl-C first.
        """
        self._script.append({**locals(), "argv": list(argv), "self": None})
        self._write()

    def developer_folder(self, folder: str = "/Applications/Xcode.app/Contents/Developer") -> None:
        self.expect("xcode-select", "-p", stdout=f"{folder}\n")

    def job(self) -> Any:
        return json.loads((self._home / "job.json").read_text())

    def left_running(self) -> int:
        """Process of what a hanging call left behind."""
        return int((self._home / "left").read_text())

    def done(self) -> None:
        faults = self._home / "faults"
        assert not faults.exists(), faults.read_text()
        assert int((self._home / "count").read_text()) == len(self._script), "not every scripted reply was used"

    def _write(self) -> None:
        (self._home / "script.json").write_text(json.dumps(self._script))


@pytest.fixture
def scripted_xcrun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A Mac with Apple's processor, as far as Pocketprune can see."""
    script = ScriptedXcrun(tmp_path / "scripted")
    monkeypatch.setenv("PATH", str(tmp_path / "scripted" / "bin"), prepend=":")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("SIMCTL_CHILD_OMP_NUM_THREADS", "1")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    yield script
    script.done()
