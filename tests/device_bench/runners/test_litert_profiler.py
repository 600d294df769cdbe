"""The profiler: what it makes of LiteRT's events, and that it can be pushed anywhere."""

import ast
import ctypes
import sys
from pathlib import Path

import pytest

from device_bench.runners import litert_profiler as profiler

SOURCE = Path(profiler.__file__).read_text()
INVOKE, MODEL, DELEGATE = profiler.WHOLE_INFERENCE, profiler.OF_THE_MODEL, profiler.OF_A_DELEGATE


def run(whole_us: int, *operations_us: int) -> list[tuple[int, bytes, int, int]]:
    inner = [(DELEGATE, b"Convolution" if i % 2 else b"Add", i, us) for i, us in enumerate(operations_us)]
    return [(INVOKE, b"LiteRT::Run", 0, 5), (INVOKE, b"Invoke", 0, whole_us), *inner]


def test_it_can_be_pushed_to_a_board_with_an_old_python():
    assert ast.parse(SOURCE, feature_version=(3, 9)).body


def test_it_imports_nothing_but_python():
    imported = {
        name.partition(".")[0]
        for node in ast.walk(ast.parse(SOURCE))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported <= sys.stdlib_module_names


def test_an_event_has_the_size_that_litert_gives_it():
    assert ctypes.sizeof(profiler.Event) == 104


def test_operations_are_averaged_over_the_middle_half_of_the_runs():
    runs = [run(1000, 900, 90), run(10, 5, 1), run(12, 7, 3), run(2, 1, 0)]
    answer = profiler.averages(runs)
    assert answer == {
        "operations": [{"type": "Add", "mean_ms": 0.006}, {"type": "Convolution", "mean_ms": 0.002}],
        "invoke_ms": 0.011,
        "runs": 2,
    }


@pytest.mark.parametrize(
    "runs",
    [
        [[]],
        [run(10)],  # an inference without operations
        [run(10, 1, 2), run(10, 1)],  # the buffer was full
        [run(10, 1, 2)[2:]],  # its beginning was overwritten
    ],
)
def test_a_profile_with_gaps_is_none(runs):
    assert "did not note the same operations" in profiler.averages(runs)["missing"]


def test_another_litert_is_not_asked(monkeypatch):
    monkeypatch.setattr(profiler, "VERSIONS", ("0.0.1",))
    answer = profiler.run({"timeout_s": 1, "affinity": None})
    profiler.signal.alarm(0)
    assert "C API of LiteRT 0.0.1; here is LiteRT 2" in answer["missing"]
