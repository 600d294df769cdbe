"""How sure an accuracy, or the difference of two, is: what other images might have given."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Z95 = 1.959963984540054
"""97.5% quantile of the standard normal distribution."""


def wilson_interval(share: float, n: int) -> tuple[float, float]:
    """95% interval of a share of n (Wilson 1927, equation for the score test; Brown, Cai and DasGupta 2001, eq. 4).

    For a share that is a mean of values in 0..1 it errs on the wide side: none vary more than zeros and ones.
    """
    if n < 1:
        raise ValueError(f"n is {n}; an interval needs at least one image")
    centre = (share + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 / (1 + Z95**2 / n) * math.sqrt(share * (1 - share) / n + Z95**2 / (4 * n**2))
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


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
