"""The result file of `benchmark_model --result_file_path=FILE`: a protocol buffer, floats in milliseconds.

Field numbers follow tflite/tools/benchmark/proto/benchmark_result.proto in github.com/google-ai-edge/LiteRT; the wire
format is https://protobuf.dev/programming-guides/encoding/. Three short messages of numbers: too little to depend on
protobuf for.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import islice

from pydantic import ValidationError

from device_bench.device import RunAggregate
from device_bench.errors import RunnerError
from device_bench.runners.benchmark_log import ToolRun

_LATENCY, _MEMORY, _MISC = 2, 3, 4
_AGGREGATE = {1: "mean", 2: "min", 3: "max", 4: "std", 5: "median", 6: "p5", 7: "p95"}
_INIT, _FIRST, _WARMUP = 8, 9, 10
_INIT_KB, _OVERALL_KB, _PEAK_MB = 1, 2, 3
_SIZE_MB, _RUNS, _WARMUPS = 1, 2, 3
_VARINT, _I64, _LEN, _I32 = 0, 1, 2, 5

Message = dict[int, float | bytes]


def parse_result(data: bytes) -> ToolRun:
    """What the result file says.

    Raises:
        RunnerError: it is no such file, or has no measurement in it.
    """
    try:
        parts = _message(data)
        latency, memory, misc = (_numbers(parts.get(number, b"")) for number in (_LATENCY, _MEMORY, _MISC))
        timed = RunAggregate.model_validate(
            {"n": int(misc.get(_RUNS, 0)), **{name: latency.get(number) for number, name in _AGGREGATE.items()}}
        )
    except (ValueError, ValidationError, OverflowError) as error:
        raise RunnerError("the result file of benchmark_model cannot be read: no benchmark result in it") from error
    return ToolRun(
        dialect="litert",  # both dialects write it, and the text says which it is
        timed=timed,
        init_ms=latency.get(_INIT) or None,
        first_ms=latency.get(_FIRST) or None,
        warmup_ms=latency.get(_WARMUP) or None,
        warmup_runs=int(misc[_WARMUPS]) if _WARMUPS in misc else None,
        init_mb=memory[_INIT_KB] / 1024 if _INIT_KB in memory else None,
        overall_mb=memory[_OVERALL_KB] / 1024 if _OVERALL_KB in memory else None,
        peak_mb=memory.get(_PEAK_MB) or None,
        size_mb=misc.get(_SIZE_MB) or None,
    )


def _numbers(part: float | bytes) -> dict[int, float]:
    if not isinstance(part, bytes):
        raise ValueError("a number stands where a message belongs")
    return {number: value for number, value in _message(part).items() if not isinstance(value, bytes)}


def _message(data: bytes) -> Message:
    """Field number -> its last value; a message that is cut off is a ValueError."""
    fields: Message = {}
    stream = iter(data)
    for first in stream:
        key = _varint(stream, first)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise ValueError("field number 0")
        if kind == _VARINT:
            fields[number] = float(_varint(stream))
        elif kind == _I64:
            fields[number] = struct.unpack("<d", _take(stream, 8))[0]
        elif kind == _I32:
            fields[number] = struct.unpack("<f", _take(stream, 4))[0]
        elif kind == _LEN:
            fields[number] = _take(stream, min(_varint(stream), len(data) + 1))
        else:
            raise ValueError(f"wire type {kind}")
    return fields


def _varint(stream: Iterator[int], first: int | None = None) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = first if first is not None and shift == 0 else next(stream, None)
        if byte is None:
            raise ValueError("cut off in a number")
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value
    raise ValueError("a number of more than ten bytes")


def _take(stream: Iterator[int], length: int) -> bytes:
    taken = bytes(islice(stream, length))
    if len(taken) != length:
        raise ValueError("cut off in a value")
    return taken
