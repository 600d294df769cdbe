"""What can go wrong while a model file is measured on a device.

    DeviceBenchError                 everything below; never raised itself
    |-- UsageError                   a device spec, model file or benchmark setting that cannot work   (exit 2)
    |-- DeviceUnavailableError       the device is not there, or lacks what the measurement needs      (exit 3)
    |   `-- TransientDeviceError     ... but may be there a moment later: retried
    `-- RunnerError                  the program on the device died, hung or printed garbage           (exit 3)

Only `TransientDeviceError` is ever retried. Each class carries the exit code that the command line ends with.
"""

from __future__ import annotations


class DeviceBenchError(Exception):
    """Base class of every error of this package; its text gives the value, the rule and the remedy."""

    exit_code = 1


class UsageError(DeviceBenchError):
    exit_code = 2


class DeviceUnavailableError(DeviceBenchError):
    exit_code = 3


class TransientDeviceError(DeviceUnavailableError):
    pass


class RunnerError(DeviceBenchError):
    exit_code = 3
