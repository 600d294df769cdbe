"""What a step is worth: one pure function per reward.

Equation 3 of PuRL (001_147cc4adf19daa6c):  R = -beta (max(1 - A/T_A, 0) + max(1 - P/T_P, 0)).
P is what was saved: the sparsity of the paper, or the share of the dense latency or of the multiply-accumulates that
is gone. In the latency form P = 1 - L/L_dense and T_P = 1 - target, so that both terms keep the equal weight that they
have in the paper. Energy has the same form; where both count, they share the weight of the one term.

Equations 4 and 5 are printed with the sign of their accuracy term reversed against their text ("positive rewards if it
surpasses the given accuracy target"); here reward rises with accuracy.

AMC's two are those of its public code: the accuracy alone, where the actions keep the budget, and -error x log(FLOPs),
where the accuracy is to be kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from pipeline.search.cost import CostAnswer
from pipeline.search_section import RewardSection

Reward = Callable[[float, CostAnswer, float], float]
"""(accuracy, cost, multiply-accumulates of one image) -> reward."""


def equation_3(accuracy: float, saved: float, *, accuracy_target: float, saved_target: float, scale: float) -> float:
    """Zero where both targets are met, more negative the further either is missed.

    Args:
        accuracy: share of validation images that are right, A.
        saved: share of the dense cost that is gone, P.
        accuracy_target: T_A, above 0.
        saved_target: T_P; a target of 0 or less is met by any network that costs no more than the dense one.
        scale: beta.
    """
    return -scale * (max(1.0 - accuracy / accuracy_target, 0.0) + _shortfall(saved, saved_target))


def equation_4(accuracy: float, saved: float, *, accuracy_target: float, saved_target: float, scale: float) -> float:
    """R2: accuracy above its target is paid for as well."""
    return -scale * ((1.0 - accuracy / accuracy_target) + _shortfall(saved, saved_target))


def equation_5(accuracy: float, saved: float, *, accuracy_target: float, saved_target: float, scale: float) -> float:
    """R3: as R2, and what accuracy is paid grows with its cube."""
    return -scale * ((1.0 - (accuracy / accuracy_target) ** 3) + _shortfall(saved, saved_target))


def with_energy(
    accuracy: float,
    saved: float,
    energy_saved: float,
    *,
    accuracy_target: float,
    saved_target: float,
    energy_target: float,
    energy_share: float,
    scale: float,
) -> float:
    """Equation 3 whose second term is (1 - w) max(1 - P/T_P, 0) + w max(1 - E/T_E, 0), w the energy's share.

    Args:
        energy_saved: E, share of the dense network's energy of one inference that is gone.
        energy_target: T_E.
        energy_share: w, from 0 (the other cost alone) to 1 (energy alone).
    """
    terms = {"accuracy_target": accuracy_target, "scale": scale}
    by_cost = equation_3(accuracy, saved, saved_target=saved_target, **terms)
    by_energy = equation_3(accuracy, energy_saved, saved_target=energy_target, **terms)
    return (1.0 - energy_share) * by_cost + energy_share * by_energy


def amc(accuracy: float, *, scale: float) -> float:
    return scale * accuracy


def amc_flops(accuracy: float, macs: float, *, scale: float) -> float:
    """-error x log(FLOPs), natural logarithm of the multiply-accumulates of one image."""
    return -scale * (1.0 - accuracy) * math.log(max(macs, 1.0))


def make_reward(section: RewardSection, accuracy_target: float) -> Reward:
    """The configured reward; a cost is aimed at, not met exactly, where it is measured (`CostAnswer.aim`)."""
    scale = section.scale
    if section.name == "amc":
        return lambda accuracy, cost, macs: amc(accuracy, scale=scale)
    if section.name == "amc_flops":
        return lambda accuracy, cost, macs: amc_flops(accuracy, macs, scale=scale)
    equation = {"equation_4": equation_4, "equation_5": equation_5}.get(section.name or "", equation_3)

    def reward(accuracy: float, cost: CostAnswer, macs: float) -> float:
        terms = {"accuracy_target": accuracy_target, "saved_target": 1.0 - cost.aim_ratio, "scale": scale}
        if cost.energy is None:
            return equation(accuracy, 1.0 - cost.ratio, **terms)
        return with_energy(
            accuracy,
            1.0 - cost.ratio,
            1.0 - cost.energy.ratio,
            energy_target=1.0 - cost.aim * cost.energy.target_ratio,
            energy_share=cost.energy.share,
            **terms,
        )

    return reward


def _shortfall(saved: float, target: float) -> float:
    if target <= 0.0:
        return max(-saved, 0.0)
    return max(1.0 - saved / target, 0.0)
