"""Whether what was known before any training tells what trainings come to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ....spaces.space import Space
from ....spaces.surrogates import Surrogates
from .accuracy_model import rank_correlation
from .known import Known

ENOUGH_TO_JUDGE = 8
"""Trained plans before it is judged whether what was known beforehand orders them."""


def guide_fits(space: Space, surrogates: Surrogates, trained: Sequence[Known]) -> bool:
    """Tell whether what single changes do before any training orders what was trained; True while little is known.

    Args:
        space: The space.
        surrogates: What was known beforehand.
        trained: What was trained.
    """
    if len(trained) < ENOUGH_TO_JUDGE or not surrogates.sensitivity:
        return True
    harm = np.array([surrogates.harm(space, known.plan) for known in trained])
    cost, paid = np.array([known.cost for known in trained]), np.array([known.paid for known in trained])
    return rank_correlation(harm, cost, paid) > 0
