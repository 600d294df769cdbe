import pytest

from device_bench.errors import UsageError
from device_bench.judge import delegate_rejections
from device_bench.runners.benchmark_delegate import check_flag, delegation, wanted_delegate
from device_bench.runners.benchmark_log import parse_run

XNNPACK = "TfLiteXNNPackDelegate"


def replacing(name: str, nodes: int, of: int, partitions: int, end: str = " for subgraph 0.") -> str:
    taken = f"VERBOSE: Replacing {nodes} out of {of} node(s) with delegate ({name}) node"
    return f"{taken}, yielding {partitions} partitions{end}"


def applied(name: str, rest: str) -> str:
    return f"INFO: Explicitly applied {name} delegate, and the model graph will be {rest}."


WHOLE = "completely executed by the delegate"
NOT = "INFO: Though {} delegate is explicitly applied, the model graph will not be executed by the delegate."

USED = {
    "whole": ("xnnpack", [applied("XNNPACK", WHOLE)], (1, 65, 65)),
    "whole by LiteRT's line": ("xnnpack", [replacing(XNNPACK, 31, 31, 1, ".")], (1, 31, 31)),
    "whole graph": ("xnnpack", [replacing(XNNPACK, 63, 65, 2, " for the whole graph")], (1, 63, 65)),
    "two pieces around others": ("xnnpack", [replacing(XNNPACK, 63, 65, 3)], (2, 63, 65)),
    "in part": (
        "gpu",
        [
            replacing("TfLiteGpuDelegateV2", 60, 64, 5),
            applied("GPU", "partially executed by the delegate w/ 3 delegate kernels"),
        ],
        (3, 60, 64),
    ),
    "LiteRT 2's GPU": (
        "gpu",
        [replacing("LITERT_CL", 70, 70, 1), replacing(XNNPACK, 3, 9, 1, " for subgraph 1.")],
        (1, 70, 70),
    ),
    "the tool's verdict counts": (
        "nnapi",
        [replacing("TfLiteNnapiDelegate", 31, 31, 1), NOT.format("NNAPI")],
        (0, 0, 31),
    ),
    "fell back in silence": ("gpu", [replacing(XNNPACK, 31, 31, 1)], (0, 0, 31)),
    "nothing is said": ("npu", [], (0, 0, 65)),
    "took none": ("xnnpack", [replacing(XNNPACK, 0, 31, 1)], (0, 0, 31)),
}


@pytest.mark.parametrize("case", USED)
def test_what_the_delegate_took(case):
    wanted, lines, expected = USED[case]
    use = delegation(parse_run(lines), wanted, asked=True, operations=65).use
    assert use is not None
    assert (use.partitions, use.nodes_delegated, use.nodes_total) == expected
    whole = expected[0] == 1 and expected[1] == expected[2]
    assert bool(delegate_rejections(use)) != whole


def test_a_part_of_unknown_size_is_rejected_and_not_guessed():
    line = applied("GPU", "partially executed by the delegate w/ 1 delegate kernels")
    found = delegation(parse_run([line]), "gpu", asked=True, operations=65)
    assert found.use is None
    assert found.rejection is not None and "partially delegated" in found.rejection


def test_silence_about_a_delegate_that_nobody_asked_for_is_no_rejection():
    found = delegation(parse_run([]), "xnnpack", asked=False, operations=65)
    assert (found.use, found.rejection) == (None, None)
    assert found.missing is not None


def test_without_a_delegate_none_may_work():
    assert delegation(parse_run([]), "none", asked=True, operations=65).rejection is None
    found = delegation(parse_run([replacing(XNNPACK, 31, 31, 1)]), "none", asked=True, operations=65)
    assert found.rejection is not None and "31 of 31" in found.rejection


@pytest.mark.parametrize(("accelerator", "delegate"), [("ane", None), ("gpu", "xnnpack"), ("cpu", "nnapi")])
def test_what_the_tool_cannot_do_is_refused(accelerator, delegate):
    with pytest.raises(UsageError, match=r"pick one|there:"):
        wanted_delegate(accelerator, delegate)


def test_a_flag_that_the_tool_passes_over_is_refused_where_it_matters():
    run = parse_run(["WARN: Unconsumed cmdline flags: --use_nnapi=true --use_xnnpack=true"])
    with pytest.raises(UsageError, match="no --use_nnapi"):
        check_flag(run, "nnapi")
    check_flag(run, "xnnpack")  # LiteRT 2 takes XNNPACK unasked
    with pytest.raises(UsageError, match="no --use_xnnpack"):
        check_flag(run, "none")
