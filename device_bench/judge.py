"""Whether what one process measured may be believed, and if not, whether another one may do better."""

from __future__ import annotations

from pathlib import Path

from device_bench import steadiness
from device_bench.device import JobModel, JobResult, ModelRun
from device_bench.records import ArtifactInfo, BenchSpec, DelegateUse, Record
from device_bench.sidecar import Golden, SidecarAccuracy

HALF_PRECISION_ERROR = 0.03
"""What an accelerator's answers may differ by, in parts of the largest: GPUs and NPUs compute in half precision, whose
roundings of 2**-11 each add up over a network's layers; a wrong answer is off by much more."""
TRANSIENT = ("throttled", "busy", "stolen", "drifting", "bimodal", "screen went")
"""How the rejections begin that say what a process met with; all others lie in the network, its file or the device's
set-up, and repeating would meet them again."""


class Subject(Record):
    """A model file that may be measured: it is what it says, and its sidecar fits."""

    artifact: ArtifactInfo
    golden: Golden | None
    accuracy: SidecarAccuracy | None = None
    sparse_weights: int = 0
    """Weight tensors that the file holds without their zeros."""

    def job_model(self) -> JobModel:
        return JobModel(path=Path(self.artifact.path).absolute(), golden=self.golden)


def is_transient(reason: str) -> bool:
    """Whether another process may be spared what this rejection tells of."""
    return reason.startswith(TRANSIENT)


def rejections(result: JobResult, model: ModelRun, golden: Golden | None, spec: BenchSpec) -> list[str]:
    """Why one process's figures of one of its models must not be believed."""
    reasons = list(result.rejections)
    if result.thermal is not None and result.thermal.throttled:
        reasons.append("throttled")
    if model.delegate is not None:
        reasons += [
            f"{reason}; --allow-partial (allow_partial) lets it count" if reason.startswith("partially") else reason
            for reason in delegate_rejections(model.delegate)
        ]
    if spec.allow_partial:
        reasons = [reason for reason in reasons if not reason.startswith("partially delegated")]
    if golden is not None and model.golden_error is not None:
        allowed = max(golden.max_rel_error, HALF_PRECISION_ERROR if spec.accelerator != "cpu" else 0.0)
        if not model.golden_error <= allowed:
            reasons.append(
                f"wrong answer: differs from the golden outputs by {model.golden_error:.2g} of the largest "
                f"({allowed:.2g} is allowed)"
            )
    return [*reasons, *steadiness.rejections(model)]


def delegate_rejections(use: DelegateUse) -> list[str]:
    """Whole networks run in one piece on the delegate; several pieces, or operations outside, cost a multiple."""
    if use.partitions == 0:
        return [f"not delegated: {use.name} took none of {use.nodes_total} operations"]
    if use.partitions > 1 or use.nodes_delegated < use.nodes_total:
        taken = f"{use.nodes_delegated} of {use.nodes_total} operations in {use.partitions} partition(s)"
        return [f"partially delegated: {use.name} took {taken}"]
    return []
