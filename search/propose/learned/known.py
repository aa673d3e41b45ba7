"""What is known of plans, and what of it counts."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ....spaces.plan import Plan
from ...pareto import ranks
from .improvement import staircase

MOST_LEARNED = 800
"""Plans that a model is fitted to: the time of a fit grows with their cube."""
BEYOND = 0.1
"""How far beyond the worst of the front costs count, as a part of the front's range."""


@dataclass(frozen=True)
class Known:
    """What became of a plan, or is expected of it.

    Attributes:
        plan: The plan.
        cost: Of its metric, lower is better.
        paid: What a better metric is paid with: latency in milliseconds, of the first latency objective, or bytes.
        trained: Whether it was taught; what was not tells nothing of what a training brings.
    """

    plan: Plan
    cost: float
    paid: float
    trained: bool


def reference_point(known: Collection[Known], most_ms: float, floor: float | None) -> tuple[float, float]:
    """Return the latency and the cost beyond which a plan is of no interest.

    Args:
        known: What is known of plans, at least one.
        most_ms: The latency.
        floor: Largest cost that the user allows, None for any. It counts as soon as a plan meets it; until then the
            search has to come closer.
    """
    ms, cost = np.array([k.paid for k in known]), np.array([k.cost for k in known])
    front = staircase(ms, cost, (most_ms * (1 + 1e-9), math.inf))[1]
    if not len(front):
        return most_ms, float(cost.max())
    best, worst = float(front.min()), worst_of_interest(front, floor)
    return most_ms, worst + BEYOND * max(worst - best, 1e-9)


def of_interest(
    known: Collection[Known], teacher_ms: float, limit_ms: float | None, floor: float | None
) -> tuple[float, float]:
    """Return the same, where the range up to the teacher counts.

    Args:
        known: What is known of plans, at least one.
        teacher_ms: Predicted latency of the teacher.
        limit_ms: Largest latency that is allowed; None where the whole range counts.
        floor: As of `reference_point`.
    """
    most_ms = max(teacher_ms, *(each.paid for each in known))
    return reference_point(known, most_ms if limit_ms is None else min(most_ms, limit_ms), floor)


def worst_of_interest(front: NDArray[np.float64], floor: float | None) -> float:
    """Return the largest cost that counts.

    Args:
        front: Costs [n] of the front, at least one.
        floor: As of `reference_point`.
    """
    worst = float(front.max())
    return worst if floor is None or float(front.min()) >= floor else min(worst, floor)


def to_learn_from(trained: Sequence[Known]) -> Sequence[Known]:
    """Return what a model is fitted to: of very many plans the latest, and the best of the others."""
    if len(trained) <= MOST_LEARNED:
        return trained
    latest, earlier = trained[-MOST_LEARNED // 2 :], trained[: -MOST_LEARNED // 2]
    rank = ranks([(known.paid, known.cost) for known in earlier])
    best = sorted(range(len(earlier)), key=lambda i: rank[i])[: MOST_LEARNED - len(latest)]
    return [*(earlier[i] for i in sorted(best)), *latest]
