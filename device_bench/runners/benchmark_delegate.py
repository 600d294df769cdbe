"""What `benchmark_model` was asked to run a network on, and what it really ran it on, by its own words."""

from __future__ import annotations

import re

from device_bench.device import Job
from device_bench.errors import UsageError
from device_bench.records import Accelerator, Delegate, DelegateUse, Record
from device_bench.runners.benchmark_log import Replacement, ToolRun

OFFERED: dict[Accelerator, tuple[Delegate, ...]] = {
    "cpu": ("xnnpack", "none"),
    "gpu": ("gpu",),
    "npu": ("npu", "nnapi"),
}
"""The first is the usual one."""
FLAGS: dict[Delegate, str] = {
    "xnnpack": "--use_xnnpack=true",
    "none": "--use_xnnpack=false",
    "gpu": "--use_gpu=true",
    "nnapi": "--use_nnapi=true",
    "npu": "--use_npu=true",
}
NAMES: dict[Delegate, str] = {"xnnpack": "XNNPACK", "none": "none", "gpu": "GPU", "nnapi": "NNAPI", "npu": "NPU"}

# The tool's names: TfLiteXNNPackDelegate, TfLiteGpuDelegateV2, LITERT_CL, TfLiteNnapiDelegate, DispatchDelegate, ...
_FAMILIES: dict[Delegate, re.Pattern[str]] = {
    "xnnpack": re.compile(r"xnnpack", re.IGNORECASE),
    "gpu": re.compile(r"gpu|^LITERT_(CL|GL|VK|WEBGPU|METAL)$", re.IGNORECASE),
    "nnapi": re.compile(r"nnapi", re.IGNORECASE),
    "npu": re.compile(r"dispatch|npu|edgetpu|hexagon|qnn", re.IGNORECASE),
}


class Delegation(Record):
    """How much the wanted delegate took; without `use`, `missing` says why, and `rejection` why it cannot count."""

    use: DelegateUse | None = None
    missing: str | None = None
    rejection: str | None = None


def wanted_delegate(accelerator: Accelerator, delegate: Delegate | None) -> Delegate:
    """The delegate that a spec means.

    Raises:
        UsageError: the tool has no such accelerator, or the delegate does not run on it.
    """
    if accelerator not in OFFERED:
        raise UsageError(f"accelerator {accelerator!r}: benchmark_model has {', '.join(OFFERED)}; pick one of them")
    if delegate is not None and delegate not in OFFERED[accelerator]:
        known = ", ".join(OFFERED[accelerator])
        raise UsageError(f"delegate {delegate!r}: does not run on accelerator {accelerator!r}; there: {known}")
    return delegate or OFFERED[accelerator][0]


def explicit(job: Job) -> bool:
    """Whether somebody asked for a delegate, rather than taking what comes."""
    return job.delegate is not None or job.accelerator != "cpu"


def check_flag(run: ToolRun, wanted: Delegate) -> None:
    """A flag that the tool does not know only makes it warn, and run on the CPU.

    Raises:
        UsageError: the flag that chooses the delegate is one of those.
    """
    flag = FLAGS[wanted].partition("=")[0]
    if wanted != "xnnpack" and flag in run.unknown_flags:  # LiteRT 2 has no such flag, and takes XNNPACK unasked
        generation = "LiteRT 2" if run.dialect == "litert" else "TFLite"
        raise UsageError(
            f"delegate {wanted!r}: this benchmark_model ({generation}) has no {flag}; nnapi and none want TFLite's, "
            "npu wants LiteRT 2's: put the other one on the device, or ask for another delegate"
        )


def delegation(run: ToolRun, wanted: Delegate, asked: bool, operations: int) -> Delegation:
    """What the wanted delegate took of the network.

    The tool's verdict counts before LiteRT's own lines: with NNAPI, phones printed that 31 of 31 operations were
    taken and then that the graph will not be executed by the delegate. With pieces left to others, LiteRT counts both
    sorts, which alternate: half of them, rounded up, is the most that can be the delegate's.

    Args:
        asked: whether silence means that it took nothing.
        operations: how many the model file has.
    """
    if wanted == "none":
        return _without(run)
    family = _FAMILIES[wanted]
    name = NAMES[wanted]
    verdict = next((verdict for verdict in reversed(run.verdicts) if family.search(verdict.delegate)), None)
    main = [taken for taken in run.replacements if taken.subgraph == 0]
    taken = next((taken for taken in main if family.search(taken.delegate)), None)
    total = main[0].of if main else operations
    nothing = Delegation(use=DelegateUse(name=name, partitions=0, nodes_delegated=0, nodes_total=total))
    if verdict is None and taken is None:
        return nothing if asked else Delegation(missing="the tool does not say what the delegate took")
    if verdict is not None and verdict.how == "not":
        return nothing
    if verdict is not None and verdict.how == "completely":
        return Delegation(use=DelegateUse(name=name, partitions=1, nodes_delegated=total, nodes_total=total))
    return _partly(name, verdict.kernels if verdict else None, taken, total)


def _partly(name: str, kernels: int | None, taken: Replacement | None, total: int) -> Delegation:
    if taken is None:
        said = (
            f"{name} took a part of the operations in {kernels or 'some'} partition(s); the tool does not say how many"
        )
        return Delegation(missing=said, rejection=f"partially delegated: {said}")
    whole = taken.nodes == taken.of
    pieces = kernels or (taken.partitions if whole else (taken.partitions + 1) // 2)
    return Delegation(
        use=DelegateUse(
            name=name, partitions=pieces if taken.nodes else 0, nodes_delegated=taken.nodes, nodes_total=total
        )
    )


def _without(run: ToolRun) -> Delegation:
    took = next((taken for taken in run.replacements if taken.nodes and taken.subgraph == 0), None)
    if took is None:
        return Delegation(missing="no delegate was asked for")
    said = f"{took.delegate} took {took.nodes} of {took.of} operations, though no delegate was asked for"
    return Delegation(missing=said, rejection=f"delegated: {said}")
