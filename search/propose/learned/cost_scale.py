"""The scale of costs on which a model is fitted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
MOST = 30.0
"""Larger numbers on the bent scale are no costs of anything."""
LEAST = -0.95
"""Costs below the least one, which come later, are told apart down to so many units."""


@dataclass(frozen=True)
class CostScale:
    """Bends costs so that differences among good plans count, and those among bad ones less.

    Attributes:
        best: The least cost.
        unit: Above it, costs are told apart by their logarithm rather than by their difference.
    """

    best: float
    unit: float

    @classmethod
    def of(cls, cost: Vector) -> CostScale:
        """Return the scale for these costs [n]: the unit is what the median lies above the best."""
        best, worst = float(cost.min()), float(cost.max())
        return cls(best, max(float(np.median(cost)) - best, 0.01 * (worst - best), 1e-9))

    def bent(self, cost: Vector) -> Vector:
        """Return costs [n] on the scale of the model."""
        return np.asarray(np.log1p(np.maximum((cost - self.best) / self.unit, LEAST)))

    def straight(self, bent: Vector) -> Vector:
        """Return numbers [n] on the scale of the model as costs."""
        return np.asarray(self.best + self.unit * np.expm1(np.minimum(bent, MOST)))
