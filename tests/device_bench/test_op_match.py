"""Operations of two profiles, paired: by name, else by order, else listed apart; nothing is lost or counted twice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_bench.op_match import is_one_piece, match_ops, unexplained_ms
from device_bench.records import OpTime


def op(name: str, mean_ms: float = 1.0, kind: str = "Conv", share: float = 0.1) -> OpTime:
    return OpTime(name=name, type=kind, mean_ms=mean_ms, share=share)


def test_operations_of_one_name_are_one_operation_wherever_they_stand():
    changes = match_ops([op("a", 3), op("b", 2)], [op("b", 1, "other kernel"), op("a", 0.5)])
    assert [(pair.name, pair.type, pair.change_ms) for pair in changes.pairs] == [
        ("a", "Conv", -2.5),
        ("b", "Conv", -1),
    ]
    assert not changes.baseline_only and not changes.candidate_only


def test_what_has_one_name_several_times_is_paired_in_order():
    changes = match_ops([op("add", 1), op("add", 2)], [op("add", 3), op("add", 4)])
    assert [(pair.baseline_ms, pair.candidate_ms) for pair in changes.pairs] == [(1, 3), (2, 4)]


def test_other_names_are_paired_by_order_where_the_types_are_the_same():
    before = [op("stem", 3), op("[relu]:1", 2, "CONV"), op("[sum]:2", 1, "ADD")]
    after = [op("stem", 1), op("[relu_pruned]:1", 1, "CONV"), op("[sum_pruned]:2", 1, "ADD")]
    changes = match_ops(before, after)
    assert [pair.name for pair in changes.pairs] == ["stem", "[relu]:1", "[sum]:2"]


def test_what_has_no_partner_is_listed_apart_and_never_guessed():
    before = [op("stem"), op("x", kind="CONV"), op("y", kind="CONV")]
    after = [op("stem"), op("z", kind="CONV")]
    changes = match_ops(before, after)
    assert [pair.name for pair in changes.pairs] == ["stem"]
    assert [one.name for one in changes.baseline_only] == ["x", "y"]
    assert [one.name for one in changes.candidate_only] == ["z"]


def test_the_largest_changes_go_either_way_and_come_first():
    before = [op("same", 5), op("saved", 4), op("slower", 1), op("less", 2)]
    after = [op("same", 5), op("saved", 1), op("slower", 3), op("less", 1.5)]
    assert [pair.name for pair in match_ops(before, after).largest(2)] == ["saved", "slower"]
    assert len(match_ops(before, after).largest(10)) == 3


names = st.sampled_from(["a", "b", "c", "d"])
profiles = st.lists(st.builds(op, names, st.floats(0, 10), st.sampled_from(["Conv", "Add"])), max_size=8)


@given(profiles, profiles)
def test_every_operation_is_in_one_place_and_no_time_is_lost(before: list[OpTime], after: list[OpTime]):
    changes = match_ops(before, after)
    assert len(changes.pairs) + len(changes.baseline_only) == len(before)
    assert len(changes.pairs) + len(changes.candidate_only) == len(after)
    told = [pair.candidate_ms for pair in changes.pairs] + [one.mean_ms for one in changes.candidate_only]
    assert sorted(told) == sorted(one.mean_ms for one in after)


@given(profiles)
def test_a_profile_against_itself_shows_no_change(ops: list[OpTime]):
    assert match_ops(ops, ops).largest(100) == ()


def test_what_the_operations_do_not_add_up_to():
    assert unexplained_ms([op("a", 6, share=0.6), op("b", 3, share=0.3)]) == pytest.approx(1)
    assert unexplained_ms([op("a", 0, share=0)]) is None
    assert unexplained_ms([]) is None


@pytest.mark.parametrize(
    ("ops", "expected"),
    [
        ([op("whole", kind="TfLiteXNNPackDelegate", share=1.0)], True),
        ([op("most", kind="TfLiteXNNPackDelegate", share=0.96), op("end", kind="SOFTMAX")], True),
        ([op("a"), op("b")], False),
        ([op("half", kind="TfLiteXNNPackDelegate", share=0.5), op("end", kind="SOFTMAX", share=0.5)], False),
    ],
)
def test_a_network_in_one_piece_tells_nothing_of_its_layers(ops, expected):
    assert is_one_piece(ops) is expected
