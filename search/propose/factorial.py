"""The factorial design: uniform designs in which each role has a level of its own, spread over levels and latency."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ...spaces.axes.bits import FULL
from ...spaces.plan import Plan
from ...spaces.space import Space
from ...spaces.surrogates import LatencySurrogate
from .role_classes import RoleClass, by_weight, role_classes

LEVELS = (1.0, 0.6, 0.3)
"""Parts of its size that a role keeps."""
MOST_CLASSES = 3
"""Classes with levels of their own, those that carry most of the latency; the others follow the mean of these."""


def factorial(space: Space, latency: LatencySurrogate | None, like: Plan) -> list[Plan]:
    """Return uniform designs, ordered so that the first few of them span the front: each is far from all before it.

    Args:
        space: The space.
        latency: Predicts latency where that is possible.
        like: The plan that decisions outside the network are taken from.
    """
    classes = [c for c in by_weight(space, role_classes(space), latency) if _is_size(space, c)]
    if not classes:
        return []
    bits = 8 if 8 in space.options("bits") else FULL
    found: dict[Plan, tuple[float, ...]] = {}
    for levels in product(LEVELS, repeat=min(MOST_CLASSES, len(classes))):
        plan = _plan(space, classes, levels, space.uniform({"bits": bits}, like))
        cost = _cost(space, plan, latency)
        found.setdefault(plan, (*levels, cost))
    return list(_spread(list(found), np.array(list(found.values()))))


def in_other_bits(space: Space, plan: Plan) -> Iterator[Plan]:
    """Yield a plan with all layers in each other width, the least bits first, where these share its training."""
    training = space.spec(plan).training_key()
    for bits in sorted(b for b in space.options("bits") if isinstance(b, int)):
        found = space.uniform({"bits": bits}, plan)
        if found != plan and space.spec(found).training_key() == training:
            yield found


def _is_size(space: Space, found: RoleClass) -> bool:
    """Tell whether a class is about sizes: ordered options of one sort."""
    return (
        all(space.network[p].kind == "ordered" and len(set(space.network[p].families)) == 1 for p in found.places)
        and found.axis != "bits"
    )


def _plan(space: Space, classes: list[RoleClass], levels: tuple[float, ...], like: Plan) -> Plan:
    indices = list(space.indices(like))
    mean = float(np.mean(levels))
    for i, known in enumerate(classes):
        wanted = levels[i] if i < len(levels) else mean
        for place in known.places:
            parts = space.network[place].parts
            indices[place] = min(range(len(parts)), key=lambda j: abs(parts[j] - wanted))
    return space.assemble(indices, like)


def _cost(space: Space, plan: Plan, latency: LatencySurrogate | None) -> float:
    """Return the logarithm of the predicted latency, or of what is left of all variables together."""
    if latency is not None:
        return float(np.log(max(latency.predict_ms(space.spec(plan)), 1e-9)))
    at = space.indices(plan)
    return float(np.mean([np.log(max(v.parts[i], 1e-3)) for v, i in zip(space.network, at, strict=True)]))


def _spread(plans: list[Plan], points: NDArray[np.float64]) -> Iterator[Plan]:
    """Yield the plan nearest to the middle, then always the one that is furthest from all before it."""
    points = (points - points.min(axis=0)) / np.maximum(np.ptp(points, axis=0), 1e-12)
    apart = np.full(len(points), np.inf)
    best = int(np.linalg.norm(points - points.mean(axis=0), axis=1).argmin())
    for _ in plans:
        yield plans[best]
        apart = np.minimum(apart, np.linalg.norm(points - points[best], axis=1))
        apart[best] = -1.0
        best = int(np.argmax(apart))
