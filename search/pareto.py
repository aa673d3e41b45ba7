"""Dominance, ranks and hypervolume; lower is better in every objective. moocore computes what is costly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def dominates(a: Sequence[float], b: Sequence[float]) -> bool:
    """Tell whether `a` is nowhere worse than `b` and somewhere better."""
    return all(x <= y for x, y in zip(a, b, strict=True)) and any(x < y for x, y in zip(a, b, strict=True))


def non_dominated(points: Sequence[Sequence[float]]) -> list[int]:
    """Return the indices of the points that no other point dominates."""
    if not points:
        return []
    found = np.asarray(points, float)
    if found.shape[1] == 1:
        return [int(i) for i in np.flatnonzero(found[:, 0] == found.min())]
    import moocore

    return [int(i) for i in np.flatnonzero(moocore.is_nondominated(found, keep_weakly=True))]


def ranks(points: Sequence[Sequence[float]]) -> list[int]:
    """Return 0 for the points that no other dominates, 1 for those that only these dominate, and so on."""
    if not points:
        return []
    found = np.asarray(points, float)
    if found.shape[1] == 1:
        return [int(i) for i in np.unique(found[:, 0], return_inverse=True)[1]]
    import moocore

    return [int(r) for r in moocore.pareto_rank(found)]


def hypervolume(points: Sequence[Sequence[float]], reference: Sequence[float]) -> float:
    """Return the volume between the points and a reference point (Zitzler & Thiele 1998, doi:10.1007/BFb0056872).

    Args:
        points: [points][objectives], lower is better.
        reference: A point that is worse in every objective; what lies beyond it counts nothing.
    """
    inside = [p for p in points if all(x < r for x, r in zip(p, reference, strict=True))]
    if not inside:
        return 0.0
    if len(reference) == 1:
        return reference[0] - min(p[0] for p in inside)
    import moocore

    return float(moocore.hypervolume(np.asarray(inside, float), ref=np.asarray(reference, float)))
