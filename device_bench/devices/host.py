"""This machine: a runner process of its own for every job, LiteRT with XNNPACK on the CPU. Spec: `host`."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from device_bench.device import Device, Job, JobResult, Missing
from device_bench.devices import DeviceListing
from device_bench.errors import RunnerError, UsageError
from device_bench.litert import RUNNER, RunnerOutput, job_result, job_text, read_load, read_output
from device_bench.load import LoadTrace, SustainedLoad, watched
from device_bench.modelfile import check_tflite
from device_bench.probes import others, power
from device_bench.probes.state import DeviceState, read_heat
from device_bench.probes.throttle import thermal_between
from device_bench.process import BackgroundProcess, LocalShell, output_of, run_process
from device_bench.profile import PROFILER, profile_ops
from device_bench.records import BenchSpec, DeviceInfo, OpTime, PowerUse, Readiness

EXAMPLE = "host"
IDLE_S = 3.0
LOAD_S = 10.0


def connect(spec: str) -> Device:
    if spec not in ("host", "host://"):
        raise UsageError(f"device {spec!r}: there is only one host; write `host`")
    return HostDevice()


def discover() -> list[DeviceListing]:
    return [DeviceListing(spec="host", info=host_info(), runner=RUNNER.stem)]


class HostDevice(Device):
    """This machine.

    Args:
        runner: the program that a job is given to.
        sysfs: root of the tree that heat and energy are read from.
    """

    def __init__(self, runner: Path = RUNNER, sysfs: Path = Path("/sys")) -> None:
        self._runner = runner
        self._sysfs = sysfs
        self._readiness = Readiness()

    def info(self) -> DeviceInfo:
        return host_info()

    def check(self, model_path: Path, spec: BenchSpec) -> None:
        check_tflite(model_path)
        self.check_accelerator(spec)
        if spec.affinity is not None:
            allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
            if not set(spec.affinity) <= set(allowed) or not spec.affinity:
                have = ", ".join(map(str, allowed)) or "none: this system cannot pin a process"
                raise UsageError(f"affinity {list(spec.affinity)}: pick from the CPUs that there are ({have})")

    def prepare(self, readiness: Readiness) -> None:
        self._readiness = readiness

    def run(self, job: Job) -> JobResult:
        before = self._heat()
        output = self._output(job)
        result = job_result(output, thermal_between(before, self._heat()), self._runner)
        return result.model_copy(update={"rejections": tuple(others.rejections(result.cpu_shares, self._readiness))})

    def power_unavailable(self) -> str | None:
        return power.EnergyCounters(self._sysfs).unavailable()

    def power(self, job: Job) -> PowerUse | Missing:
        counters = power.EnergyCounters(self._sysfs)
        reason = counters.unavailable()
        if reason is not None:
            return Missing(reason=reason)
        load = job.model_copy(update={"min_seconds": max(LOAD_S, job.min_seconds)})
        with power.EnergyWatch(counters) as watch:
            time.sleep(IDLE_S)
            output = self._output(load)
            time.sleep(IDLE_S)
        return power.power_use(watch.trace, output.loop_s, sum(map(len, output.models[0].blocks)))

    def sustain(self, job: Job) -> SustainedLoad:
        def run_load() -> LoadTrace:
            process = BackgroundProcess("the runner", self._argv(), job_text(job))
            try:
                return read_load(lambda: output_of("the runner", process.wait(job.timeout_s)), process.stop)
            except RunnerError as error:
                raise RunnerError(f"{job.models[0].path}: {error}") from error

        return watched(partial(BackgroundProcess, "the sampler"), run_load, job, str(self._sysfs))

    def _heat(self) -> DeviceState:
        return read_heat(LocalShell("the heat's script"), str(self._sysfs))

    def _argv(self) -> list[str]:
        # -P keeps the runner's folder off its import path: a file there must not shadow a package.
        return [sys.executable, "-P", str(self._runner), "-"]

    def ops(self, job: Job) -> tuple[OpTime, ...] | Missing:
        argv = [sys.executable, "-P", str(PROFILER), "-"]
        return profile_ops(job, lambda stdin, timeout_s: run_process(argv, stdin, timeout_s)[0])

    def _output(self, job: Job) -> RunnerOutput:
        try:
            stdout, stderr = run_process(self._argv(), job_text(job), job.timeout_s)
            return read_output(stdout, stderr, job)
        except RunnerError as error:
            raise RunnerError(f"{', '.join(str(model.path) for model in job.models)}: {error}") from error


@functools.cache
def host_info() -> DeviceInfo:
    return DeviceInfo(
        id=f"host-{_machine_hash()}", kind="host", model=_cpu_model(), os=_os_name(), abi=platform.machine()
    )


def _machine_hash() -> str:
    """Stable over reboots; hashed, since systemd asks that a machine id be told to nobody (man machine-id)."""
    try:
        identity = Path("/etc/machine-id").read_text().strip()
    except OSError:
        identity = ""
    return hashlib.sha256(f"pocketprune:{identity or platform.node()}".encode()).hexdigest()[:12]


def _cpu_model() -> str:
    if sys.platform == "darwin":
        argv = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        try:
            name = subprocess.run(argv, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
        except (OSError, subprocess.SubprocessError):
            name = ""
    else:
        name = next((v for k, v in _cpuinfo() if k in ("model name", "Hardware", "Model")), "")
    return name or platform.processor() or "unknown CPU"


def _cpuinfo() -> list[tuple[str, str]]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
    return [(key.strip(), value.strip()) for key, _, value in (line.partition(":") for line in lines)]


def _os_name() -> str:
    if sys.platform == "darwin":
        return f"macOS {platform.mac_ver()[0]}"
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return f"{platform.system()} {platform.release()}"
