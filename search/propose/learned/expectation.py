"""The expectation: what a fitted model expects of plans, in the units that the search counts in."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .accuracy_model import AccuracyModel
from .coding import Rows
from .cost_scale import CostScale
from .features import Features
from .improvement import NODES, added, staircase
from .known import Known

Vector = NDArray[np.float64]
ALIKE = 0.7
"""How much of what a model is off at a student it is off at the same student in other bits."""


@dataclass(frozen=True)
class Expectation:
    """A model with the scale that it was fitted on, and what counts.

    Attributes:
        model: Predicts costs on the bent scale.
        scale: The scale.
        features: What the model looks at.
        reference: The latency (ms) and the cost beyond which a plan is of no interest.
    """

    model: AccuracyModel
    scale: CostScale
    features: Features
    reference: tuple[float, float]

    def cost(self, rows: Rows) -> Vector:
        """Return the expected cost [n] of rows [n, variables]."""
        return self.scale.straight(self.model.predict(self.features.of(rows))[0])

    def costs(self, rows: Rows, off: Vector | float = 0.0, surer: float = 1.0) -> Vector:
        """Return the costs [nodes, n] that rows [n, variables] may have, one for each of `NODES`.

        Args:
            rows: What may be tried.
            off: By how much more than predicted each will cost [n], on the scale of the model; see `off`.
            surer: What part of the model's standard deviation is left.
        """
        mean, std = self.model.predict(self.features.of(rows))
        return np.stack([self.scale.straight(mean + off + node * surer * std) for node in NODES])

    def worth(self, ms: Vector, costs: Vector, known: Collection[Known]) -> Vector:
        """Return the hypervolume that plans [n] are expected to add to what is known.

        Args:
            ms: Their latencies [n].
            costs: What they may cost [nodes, n]; see `costs`.
            known: What is known.
        """
        front = staircase(np.array([k.paid for k in known]), np.array([k.cost for k in known]), self.reference)
        return np.asarray(np.mean([added(ms, cost, front, self.reference) for cost in costs], axis=0))

    def off(self, rows: Rows, near: Rows, told: Sequence[Known]) -> Vector:
        """Return how far the model will be off at rows [n, variables], by how far it is at those that share a training.

        Args:
            rows: What may be tried.
            near: Rows [k, variables] of plans of the same training that were measured.
            told: What these are worth [k].
        """
        if not told:
            return np.zeros(len(rows))
        found = self.scale.bent(np.array([k.cost for k in told])) - self.model.predict(self.features.of(near))[0]
        nearest = (rows[:, None, :] != near[None, :, :]).sum(axis=2).argmin(axis=1)
        return np.asarray(ALIKE * found[nearest])
