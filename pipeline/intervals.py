"""How sure an accuracy is: what other images might have given. Differences of two are in `device_bench.accuracy`."""

from __future__ import annotations

import math

from device_bench.accuracy import Z95


def wilson_interval(share: float, n: int) -> tuple[float, float]:
    """95% interval of a share of n (Wilson 1927, equation for the score test; Brown, Cai and DasGupta 2001, eq. 4).

    For a share that is a mean of values in 0..1 it errs on the wide side: none vary more than zeros and ones.
    """
    if n < 1:
        raise ValueError(f"n is {n}; an interval needs at least one image")
    centre = (share + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 / (1 + Z95**2 / n) * math.sqrt(share * (1 - share) / n + Z95**2 / (4 * n**2))
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))
