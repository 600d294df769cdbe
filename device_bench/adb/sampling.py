"""A sampler of the probes as a detached job of a connection."""

from __future__ import annotations

from collections.abc import Sequence

from device_bench.adb.connection import AdbConnection

TIMEOUT_S = 60.0


class DetachedSampling:
    """A program that runs in a run folder of the device until it is stopped; see `probes.power_pass.Sampling`."""

    def __init__(self, connection: AdbConnection, folder: str, argv: Sequence[str]) -> None:
        self._connection = connection
        self._job = connection.start(argv, folder, name="sampler")

    def stop(self) -> str:
        self._connection.stop(self._job)
        return self._connection.pull(self._job.stdout_path, TIMEOUT_S).decode(errors="replace")
