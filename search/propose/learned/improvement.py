"""Improvement: how much hypervolume a plan of known latency and cost adds to a front."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
NODES = np.array([-1.6, -0.87, -0.43, 0.0, 0.43, 0.87, 1.6])
"""Standard deviations at which an uncertain cost is looked at; together they have its mean and its variance."""


def staircase(ms: Vector, cost: Vector, reference: tuple[float, float]) -> tuple[Vector, Vector]:
    """Return latencies and costs of the points below `reference` that no other beats, by rising latency.

    Args:
        ms: Latencies [n].
        cost: Costs [n], lower is better.
        reference: (latency, cost) of the worst point that counts.
    """
    inside = (ms < reference[0]) & (cost < reference[1])
    ms, cost = ms[inside], cost[inside]
    order = np.lexsort((cost, ms))
    ms, cost = ms[order], cost[order]
    best = np.minimum.accumulate(cost) if len(cost) else cost
    first = np.ones(len(cost), dtype=bool)
    first[1:] = best[1:] < best[:-1]
    return ms[first], cost[first]


def added(ms: Vector, cost: Vector, front: tuple[Vector, Vector], reference: tuple[float, float]) -> Vector:
    """Return the hypervolume that each point [n] alone adds to a front; see `staircase`."""
    edges = np.concatenate([front[0], [reference[0]]])  # right end of each step
    starts = np.concatenate([[-np.inf], front[0]])  # left end
    heights = np.concatenate([[reference[1]], front[1]])  # cost that is already had from there on
    width = np.maximum(0.0, edges[None, :] - np.maximum(ms[:, None], starts[None, :]))
    rise = np.maximum(0.0, heights[None, :] - cost[:, None])
    return np.asarray((width * rise).sum(axis=1))
