import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_bench.errors import RunnerError
from device_bench.runners.benchmark_result import parse_result


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def number(field: int, value: int | float) -> bytes:
    if isinstance(value, int):
        return varint(field << 3) + varint(value)
    return varint(field << 3 | 5) + struct.pack("<f", value)


def message(field: int, values: dict[int, int | float]) -> bytes:
    body = b"".join(number(key, value) for key, value in values.items())
    return varint(field << 3 | 2) + varint(len(body)) + body


LATENCY = {1: 0.95, 2: 0.9, 3: 1.1, 4: 0.02, 5: 0.94, 6: 0.91, 7: 0.99, 8: 5.7, 9: 2.1, 10: 0.96}


def result(latency: dict[int, int | float] = LATENCY, runs: int = 1054) -> bytes:
    return (
        message(2, latency) + message(3, {1: 4096, 2: 6144, 3: 427.5}) + message(4, {1: 13.5, 2: runs, 3: 526, 4: 9.0})
    )


def test_a_result_file():
    run = parse_result(result())
    assert run.timed is not None
    assert run.timed.n == 1054
    assert (run.timed.mean, run.timed.median) == pytest.approx((0.95, 0.94))
    assert (run.timed.p5, run.timed.p95, run.timed.std) == pytest.approx((0.91, 0.99, 0.02))
    assert (run.init_ms, run.first_ms, run.warmup_runs, run.warmup_ms) == pytest.approx((5.7, 2.1, 526, 0.96))
    assert (run.init_mb, run.overall_mb, run.peak_mb, run.size_mb) == (4.0, 6.0, 427.5, 13.5)


def test_fields_of_later_versions_are_passed_over():
    later = message(9, {1: 1}) + number(77, 5) + varint(6 << 3 | 1) + struct.pack("<d", 1.5)
    assert parse_result(later + result()) == parse_result(result())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"STARTING!\n",
        result(runs=0),
        result({1: 0.0, 2: 0.0, 3: 0.0}),
        result({**LATENCY, 1: float("nan")}),
        number(2, 5) + result()[:4],
        b"\xff" * 20,
        varint(2 << 3 | 2) + varint(2**60),
        b"\x00\x01",
    ],
)
def test_what_is_no_result_is_a_clear_error(data):
    with pytest.raises(RunnerError, match="no benchmark result"):
        parse_result(data)


@given(st.integers(0, len(result()) - 1))
def test_a_result_that_was_cut_off_is_no_result(length):
    with pytest.raises(RunnerError):
        parse_result(result()[:length].replace(message(4, {1: 13.5, 2: 1054, 3: 526, 4: 9.0}), b""))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_result_or_a_clear_error(data):
    with contextlib.suppress(RunnerError):
        assert parse_result(data).timed is not None
