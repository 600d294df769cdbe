"""What a step is worth: one pure function per reward.

Equation 3 of PuRL (001_147cc4adf19daa6c):  R = -beta (max(1 - A/T_A, 0) + max(1 - P/T_P, 0)).
P is what was saved. In the latency form P = 1 - L/L_dense and T_P = 1 - target, so that both terms keep the equal
weight that they have in the paper.
"""

from __future__ import annotations


def equation_3(accuracy: float, saved: float, *, accuracy_target: float, saved_target: float, scale: float) -> float:
    """Zero where both targets are met, more negative the further either is missed.

    Args:
        accuracy: share of validation images that are right, A.
        saved: share of the dense cost that is gone, P.
        accuracy_target: T_A, above 0.
        saved_target: T_P, above 0.
        scale: beta.
    """
    return -scale * (max(1.0 - accuracy / accuracy_target, 0.0) + max(1.0 - saved / saved_target, 0.0))


def latency(
    accuracy: float, latency_ratio: float, *, accuracy_target: float, latency_target: float, scale: float
) -> float:
    """Equation 3 over latency: `latency_ratio` and `latency_target` are shares of the dense network's latency.

    A target of the whole dense latency or more is met by any network that is no slower: its term is zero.
    """
    saved, saved_target = 1.0 - latency_ratio, 1.0 - latency_target
    if saved_target <= 0.0:
        saved = saved_target = 1.0
    return equation_3(accuracy, saved, accuracy_target=accuracy_target, saved_target=saved_target, scale=scale)
