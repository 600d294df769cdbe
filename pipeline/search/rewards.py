"""What a step is worth: one pure function per reward.

Equation 3 of PuRL (001_147cc4adf19daa6c):  R = -beta (max(1 - A/T_A, 0) + max(1 - P/T_P, 0)).
P is what was saved. In the latency form P = 1 - L/L_dense and T_P = 1 - target, so that both terms keep the equal
weight that they have in the paper. Energy has the same form; where both count, they share the weight of the one term.
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


def latency_and_energy(
    accuracy: float,
    latency_ratio: float,
    energy_ratio: float,
    *,
    accuracy_target: float,
    latency_target: float,
    energy_target: float,
    energy_share: float,
    scale: float,
) -> float:
    """Equation 3 whose second term is (1 - w) max(1 - P/T_P, 0) + w max(1 - E/T_E, 0), w the energy's share.

    E = 1 - energy/energy_dense and T_E = 1 - target, as for latency: both together weigh as much as accuracy does.

    Args:
        energy_ratio, energy_target: shares of the dense network's energy of one inference.
        energy_share: w, from 0 (latency alone) to 1 (energy alone).
    """
    by_latency = latency(
        accuracy, latency_ratio, accuracy_target=accuracy_target, latency_target=latency_target, scale=scale
    )
    by_energy = latency(
        accuracy, energy_ratio, accuracy_target=accuracy_target, latency_target=energy_target, scale=scale
    )
    return (1.0 - energy_share) * by_latency + energy_share * by_energy
