"""How well a simulated student is taught: what its recovery numbers are worth, and how fast it learns."""

from __future__ import annotations

import math

from autocompress.spaces.spec import Recovery

from .landscape import words_rng

SPREAD = {"temperature": 1.2, "alpha": 0.6, "learning_rate": 1.0, "feature_weight": 1.0}
"""How far off each number may be before it costs most of what good teaching brings; two of them are logarithms."""
POOR = 0.85
"""Part of the repair that badly taught students get too."""


class Teaching:
    """What a way to teach is worth.

    The best way lies elsewhere for every network, and learning rates want to be higher where there is more to repair.
    Severity is the harm before training over that of half the channels in 8 bits.
    """

    def __init__(self, seed: int) -> None:
        """Draw the best way to teach for a network."""
        rng = words_rng(seed, "teaching")
        self._best = {
            "temperature": rng.uniform(math.log(2), math.log(6)),
            "alpha": rng.uniform(0.4, 0.9),
            "learning_rate": rng.uniform(math.log(0.008), math.log(0.04)),
            "feature_weight": rng.uniform(0.0, 0.6),
        }
        self._seed = seed

    def quality(self, recovery: Recovery, severity: float) -> float:
        """Return what this way brings of the best one's repair, POOR to 1."""
        off = self._off(recovery, severity)
        return POOR + (1 - POOR) * math.exp(-sum(x * x for x in off.values()))

    def learnt(self, recovery: Recovery, severity: float, part: float, key: str) -> float:
        """Return what a part of the training brings of its whole, 0 to 1.

        It brings less at high learning rates and in hard cases, and not the same for any two students.

        Args:
            recovery: How the student is taught.
            severity: How much there is to repair.
            part: Of the training, 0 to 1.
            key: Stands for the student.
        """
        off = self._off(recovery, severity)["learning_rate"]
        pace = 0.3 * math.exp(0.4 * off + 0.25 * words_rng(self._seed, "pace", key).normal())
        pace *= 1 + min(2.0, severity) / 2
        return math.expm1(-part / pace) / math.expm1(-1 / pace)

    def _off(self, recovery: Recovery, severity: float) -> dict[str, float]:
        shift = 0.4 * (min(2.0, severity) - 1)
        found = {
            "temperature": math.log(recovery.temperature) - self._best["temperature"],
            "alpha": recovery.alpha - self._best["alpha"],
            "learning_rate": math.log(recovery.learning_rate) - self._best["learning_rate"] - shift,
            "feature_weight": recovery.feature_weight - self._best["feature_weight"],
        }
        return {name: value / SPREAD[name] for name, value in found.items()}
