"""Several programs measure the same device at once: never at the same time, and none is in the way when it is dead."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

import device_bench
from device_bench import sitting
from device_bench.adb import open_link
from device_bench.adb.connection import AdbConnection
from device_bench.devices import adb as adb_devices
from device_bench.errors import TransientDeviceError
from tests.device_bench.devices.rig_faults import QUICK, clean, command, pushing, right, running, wait_for
from tests.rig.device import RigDevice

CLIENT = """
import json, sys
import device_bench
from device_bench import steadiness
from device_bench.records import BenchSpec, Readiness
from device_bench.runners import litert_remote

steadiness.rejections = lambda run: []  # a repeated process is one loop more
loops, job_result = [], litert_remote.job_result

def noted(output, *others):
    loops.append(output.loop_s)
    return job_result(output, *others)

litert_remote.job_result = noted
any_load = Readiness(max_others_cpus=None)
spec = BenchSpec(warmup_runs=2, timed_runs=10, min_seconds=float(sys.argv[3]), processes=2, readiness=any_load)
measured = device_bench.benchmark(sys.argv[1], sys.argv[2], spec, power=False)
print(json.dumps({"valid": measured.valid, "loops": loops}))
"""


@contextmanager
def client(model: Path, device: RigDevice, min_seconds: float) -> Iterator[subprocess.Popen[str]]:
    """A program of its own that measures; it shares our temporary folder, as programs on a machine do."""
    arguments = [sys.executable, "-c", CLIENT, str(model), device.spec, str(min_seconds)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def claims() -> list[Path]:
    return list(Path(tempfile.gettempdir()).glob("pocketprune-client-*"))


@pytest.fixture(autouse=True)
def our_own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)


def test_two_programs_take_turns(rig_device: RigDevice, large_model: Path) -> None:
    with client(large_model, rig_device, 0.7) as first, client(large_model, rig_device, 0.7) as second:
        told = [json.loads(process.communicate(timeout=60)[0]) for process in (first, second)]
    assert all(one["valid"] and len(one["loops"]) == 2 for one in told)
    loops = sorted((start_s, end_s, number) for number, one in enumerate(told) for start_s, end_s in one["loops"])
    for (_, end_s, _), (start_s, _, _) in pairwise(loops):
        assert end_s < start_s
    assert [number for _, _, number in loops] in ([0, 0, 1, 1], [1, 1, 0, 0])
    assert clean(rig_device) and claims() == []


def test_a_client_without_patience_is_told_who_has_the_device(
    rig_device: RigDevice, large_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(adb_devices, "AdbConnection", partial(AdbConnection, wait_s=0.2))
    monkeypatch.setattr(sitting, "RETRY_AFTER_S", 0.1)
    with AdbConnection(open_link(rig_device.spec)) as other, other.run_folder():
        with pytest.raises(TransientDeviceError, match=r"held by .*@.* \(process \d+\).*tried 3 times"):
            device_bench.benchmark(large_model, rig_device.spec, QUICK, power=False)
        assert command("bench", str(large_model), "--device", rig_device.spec) == 3
    said = capsys.readouterr().err
    assert said.startswith(f"error: {rig_device.spec}: held by ") and "let the other client end" in said
    right(device_bench.benchmark(large_model, rig_device.spec, QUICK, power=False))
    assert clean(rig_device)


@pytest.mark.parametrize("moment", [pushing, running])
def test_a_killed_client_is_in_nobody_s_way(rig_device: RigDevice, large_model: Path, moment) -> None:
    if moment is pushing:
        rig_device.netem(delay_ms=5.0)
    with client(large_model, rig_device, 600.0) as victim:
        wait_for(lambda: moment(rig_device))
        victim.send_signal(signal.SIGKILL)
    assert len(claims()) == 1
    started_s = time.monotonic()
    right(device_bench.benchmark(large_model, rig_device.spec, QUICK, power=False))
    assert time.monotonic() - started_s < 15, "it waited for the dead one's job, or for its patience"
    assert clean(rig_device) and claims() == []


def test_an_interrupted_client_leaves_nothing(rig_device: RigDevice, large_model: Path) -> None:
    with client(large_model, rig_device, 600.0) as victim:
        wait_for(lambda: running(rig_device))
        victim.send_signal(signal.SIGINT)
        victim.wait(20)
    assert clean(rig_device) and claims() == []
