"""How much more or less accurate one file is than another, from what both said of the same images."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from device_bench.device import Missing
from device_bench.records import AccuracyDifference, AccuracyVerdict
from device_bench.sidecar import SidecarAccuracy

Z95 = 1.959963984540054
"""97.5% quantile of the standard normal distribution."""
SIGNIFICANT = 0.05


def accuracy_difference(
    baseline: SidecarAccuracy | None, candidate: SidecarAccuracy | None
) -> AccuracyDifference | Missing:
    """Top-1 of the candidate less the baseline's, image by image; Missing, with why, where they cannot be paired."""
    for who, accuracy in (("the baseline", baseline), ("the candidate", candidate)):
        if accuracy is None:
            return Missing(reason=f"{who} has no sidecar with an accuracy; export it with pocketprune")
        if accuracy.answers is None:
            return Missing(reason=f"{who}'s sidecar does not say which images it classified right; export it again")
    assert baseline and candidate and baseline.answers and candidate.answers
    if baseline.answers.images != candidate.answers.images:
        asked = [f"{one.n} of {one.split}, {one.answers.images[:8]}" for one in (baseline, candidate) if one.answers]
        return Missing(
            reason=f"not evaluated on the same images ({asked[0]}; {asked[1]}): data, seed or image size differ"
        )
    ours, theirs = baseline.answers.to_array(baseline.n), candidate.answers.to_array(candidate.n)
    difference, ci95 = paired_difference(theirs.astype(np.float64), ours.astype(np.float64))
    discordant = (int((ours & ~theirs).sum()), int((theirs & ~ours).sum()))
    p_value = mcnemar_p(*discordant)
    return AccuracyDifference(
        difference=difference,
        ci95=ci95,
        p_value=p_value,
        n=baseline.n,
        discordant=discordant,
        verdict=_verdict(difference, p_value),
        baseline_top1=baseline.top1,
        candidate_top1=candidate.top1,
        split=baseline.split,
    )


def _verdict(difference: float, p_value: float) -> AccuracyVerdict:
    if p_value >= SIGNIFICANT:
        return "inconclusive"
    return "gained" if difference > 0 else "lost"


def mcnemar_p(only_a: int, only_b: int) -> float:
    """McNemar's exact test: how likely, if both were equally accurate, so uneven a split of the images that just one
    of them classified right would be. Two-sided; a binomial test with probability 1/2 (McNemar 1947; exact form: Fay
    2010, "Two-sided exact tests and matching confidence intervals for discrete data").
    """
    from scipy.special import bdtr  # here, since importing scipy takes a moment

    total = only_a + only_b
    return min(1.0, 2 * float(bdtr(min(only_a, only_b), total, 0.5))) if total else 1.0


def paired_difference(
    correct_a: NDArray[np.float64], correct_b: NDArray[np.float64]
) -> tuple[float, tuple[float, float]]:
    """Accuracy of a less that of b on the same images, and its 95% interval.

    Agresti and Min 2005 ("Simple improved confidence intervals for comparing matched proportions", Wald+2): Wald's
    interval after half an image is added to each cell of the paired table. Written over the differences d, it is two
    more images of d = 0 on average and d^2 = 1 in sum; so it also takes accuracies between 0 and 1 (means over
    seeds). The interval says what other images might have given; how training seeds differ is not in it.

    Args:
        correct_a, correct_b: accuracy of each image in 0..1, in the same order.
    """
    if correct_a.shape != correct_b.shape or correct_a.ndim != 1 or not len(correct_a):
        raise ValueError(
            f"shapes {correct_a.shape} and {correct_b.shape}: give one value per image, of the same images"
        )
    differences = correct_a.astype(np.float64) - correct_b.astype(np.float64)
    n = len(differences) + 2
    centre = float(differences.sum()) / n
    variance = (float((differences**2).sum()) + 1) / n - centre**2
    half = Z95 * math.sqrt(variance / n)
    return float(differences.mean()), (max(-1.0, centre - half), min(1.0, centre + half))
