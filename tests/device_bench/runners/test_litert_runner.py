"""The parts of the runner that need no device; the whole of it runs in test_bench.py."""

import ast
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_bench.runners import litert_runner as runner

SOURCE = Path(runner.__file__).read_text()


def test_it_can_be_pushed_to_a_board_with_an_old_python():
    assert ast.parse(SOURCE, feature_version=(3, 9)).body


def test_it_needs_numpy_and_litert_and_nothing_else():
    imported = set()
    for node in ast.walk(ast.parse(SOURCE)):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").partition(".")[0])
    assert imported - sys.stdlib_module_names == {"numpy", "ai_edge_litert"}


class Recorder:
    """Stands where a loaded model would, and notes whose turn it was."""

    def __init__(self, name: int, turns: list[int], block_s: float) -> None:
        self.name, self.turns, self.block_s = name, turns, block_s
        self.estimate_s, self.runs, self.wall_s = 0.001, 0, 0.0

    def warm_up(self, runs: int) -> None:
        assert runs == 1

    def time_block(self, min_runs: int, min_seconds: float) -> None:
        self.turns.append(self.name)
        self.runs += min_runs
        self.wall_s += self.block_s

    def has(self, runs: int, seconds: float) -> bool:
        return self.runs >= runs and self.wall_s >= seconds


@given(st.integers(2, 5), st.integers(0, 2**32), st.integers(1, 500), st.floats(0, 1))
def test_turns_are_balanced_and_go_on_until_all_have_enough(n_models, seed, timed_runs, min_seconds):
    turns: list[int] = []
    models = [Recorder(i, turns, block_s=0.01 * (i + 1)) for i in range(n_models)]
    job = {"timed_runs": timed_runs, "min_seconds": min_seconds, "block_s": 0.01, "seed": seed}
    runner.time_models(models, job)
    rounds = [turns[i : i + n_models] for i in range(0, len(turns), n_models)]
    assert len(rounds) >= runner.MIN_ROUNDS
    assert all(sorted(order) == list(range(n_models)) for order in rounds)
    for there, back in zip(rounds[::2], rounds[1::2], strict=False):
        assert back == there[::-1]
    assert all(model.has(timed_runs, min_seconds) for model in models)


def test_turns_are_repeatable_and_differ_with_the_seed():
    orders = []
    for seed in (1, 1, 2):
        turns: list[int] = []
        models = [Recorder(i, turns, 0.01) for i in range(4)]
        runner.time_models(models, {"timed_runs": 100, "min_seconds": 0.2, "block_s": 0.01, "seed": seed})
        orders.append(turns)
    assert orders[0] == orders[1] != orders[2]


@given(st.floats(1e-6, 10), st.integers(1, 1000), st.floats(0, 10))
def test_a_turn_is_short_and_leaves_enough_rounds(estimate_s, timed_runs, min_seconds):
    runs = runner.turn_length(
        estimate_s, {"timed_runs": timed_runs, "min_seconds": min_seconds, "block_s": 0.01, "seed": 0}
    )
    assert runs >= 1
    assert (runs - 1) * estimate_s <= 0.01
    assert (runs - 1) * runner.MIN_ROUNDS <= max(timed_runs, min_seconds / estimate_s)


@pytest.mark.parametrize(
    ("actual", "expected", "error"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0),
        ([1.0, 2.2], [1.0, 2.0], 0.1),
        ([0.5], [0.0], 0.5),
        ([np.nan, 2.0], [1.0, 2.0], np.inf),
        ([1.0, 2.0], [1.0], np.inf),
    ],
)
def test_relative_error(actual, expected, error):
    assert runner.relative_error(np.array(actual), np.array(expected)) == pytest.approx(error)


def test_relative_error_does_not_wrap_around():
    assert runner.relative_error(np.array([-128], np.int8), np.array([127], np.int8)) == pytest.approx(255 / 127)


def operation(index: int, name: str, inputs: list[int], outputs: list[int]) -> dict:
    return {"index": index, "op_name": name, "inputs": inputs, "outputs": outputs}


class Interpreter:
    """Lists operations as LiteRT 2.1.2 did for the networks that each test names."""

    def __init__(self, operations: list[dict], output: int) -> None:
        self.operations, self.output = operations, output

    def _get_ops_details(self) -> list[dict]:
        return self.operations

    def get_output_details(self) -> list[dict]:
        return [{"index": self.output}]


CHAIN = [operation(0, "CONV_2D", [0, 1], [2]), operation(1, "CUMSUM", [2], [3]), operation(2, "CONV_2D", [3, 1], [4])]


@pytest.mark.parametrize(
    ("delegates", "partitions", "delegated"),
    [
        ([operation(3, "DELEGATE", [0, 1], [4])], 1, 3),
        ([operation(3, "DELEGATE", [0, 1], [2]), operation(4, "DELEGATE", [3, 1], [4])], 2, 2),
        ([operation(3, "DELEGATE", [0, 1], [2])], 1, 1),
        ([], 0, 0),
    ],
)
def test_delegate_use(delegates, partitions, delegated):
    use, missing = runner.delegate_use(Interpreter(CHAIN + delegates, output=4))
    assert missing == {}
    assert use == {"name": "XNNPACK", "partitions": partitions, "nodes_delegated": delegated, "nodes_total": 3}


def test_operations_that_no_output_needs_do_not_count():
    use, _ = runner.delegate_use(Interpreter([*CHAIN, operation(3, "ABS", [2], [9])], output=4))
    assert use is not None and use["nodes_total"] == 3


def test_a_litert_that_lists_nothing_says_so():
    use, missing = runner.delegate_use(object())
    assert use is None and "delegate" in missing
