"""What a self-test tries of a link and of the device behind it, before any model."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import partial

from device_bench.adb.connection import AdbConnection
from device_bench.adb.identity import SCRIPT as IDENTITY_SCRIPT
from device_bench.errors import RunnerError
from device_bench.probes.state import SCRIPT as STATE_SCRIPT
from device_bench.trials import Evidence, Trial

STRANGE = "a b;c$(d)'e\"f\\g\nh*i&j|k"
FILE_BYTES = 1_000_000
SECRETS = re.compile("^(ro.serialno|machine-id)=.*", re.MULTILINE)


def adb_trials(connection: AdbConnection) -> tuple[Trial, ...]:
    trials: dict[str, Callable[[AdbConnection, Evidence], str]] = {
        "what it says it is": _identity,
        "what state it is in": _state,
        "commands": _commands,
        "files": _files,
        "a detached job": _job,
        "nothing of ours stays": _clean,
    }
    return tuple(Trial(name, partial(trial, connection)) for name, trial in trials.items())


def _identity(connection: AdbConnection, evidence: Evidence) -> str:
    said = connection.run(["sh", "-c", IDENTITY_SCRIPT]).stdout
    evidence.keep("identity.txt", SECRETS.sub(r"\1=(left out)", said))
    return f"{len(said.splitlines())} lines kept"


def _state(connection: AdbConnection, evidence: Evidence) -> str:
    said = connection.run(["sh", "-c", STATE_SCRIPT, "sh", "/sys"]).stdout
    evidence.keep("state.txt", said)
    return f"{len(said)} characters kept"


def _commands(connection: AdbConnection, evidence: Evidence) -> str:
    ended = connection.run(["sh", "-c", 'printf %s "$1"; echo aside >&2; exit 7', "sh", STRANGE])
    evidence.keep("command.txt", ended.model_dump_json(indent=2))
    _expect("exit status", ended.exit_code, 7)
    _expect("stdout", ended.stdout, STRANGE)
    _expect("stderr", ended.stderr.strip(), "aside")
    return "exit status, stdout, stderr and quoting are right"


def _files(connection: AdbConnection, evidence: Evidence) -> str:
    content = hashlib.shake_256(b"pocketprune").digest(FILE_BYTES)
    with connection.run_folder() as folder:
        path = f"{folder}/{STRANGE}"
        _expect("first push sent it", connection.push(content, path), True)
        connection.push(content, path)
        _expect("content", hashlib.sha256(connection.pull(path)).hexdigest(), hashlib.sha256(content).hexdigest())
        there = connection.stat(path)
        _expect("size", there and there.size_bytes, FILE_BYTES)
    return f"{FILE_BYTES} bytes there and back, verified"


def _job(connection: AdbConnection, evidence: Evidence) -> str:
    with connection.run_folder() as folder:
        job = connection.start(["sh", "-c", "cat; sleep 1; exit 5"], folder, "hello")
        ended = connection.collect(job, 30.0)
    _expect("exit status", ended.exit_code, 5)
    _expect("stdout", ended.stdout, "hello")
    return "started, waited for and collected"


def _clean(connection: AdbConnection, evidence: Evidence) -> str:
    left = connection.run(["sh", "-c", 'ls "$1/runs" "$1/incoming"', "sh", connection.base]).stdout
    evidence.keep("left.txt", left)
    _expect("entries", sum(not line.endswith(":") for line in left.splitlines() if line), 0)
    return "no run folders, nothing half sent"


def _expect(what: str, got: object, wanted: object) -> None:
    if got != wanted:
        raise RunnerError(f"{what}: {got!r}, expected {wanted!r}")
