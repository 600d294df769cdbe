"""Tests run two at a time on machines that do other things besides: no claim of theirs is about a quiet one."""

from device_bench.records import Readiness

ANY_LOAD = Readiness(max_others_cpus=None)
"""For every spec with which a test times a real model and expects that it counts."""
