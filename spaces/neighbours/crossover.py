"""Crossover: a plan made of parts of two."""

from __future__ import annotations

import random

from ..plan import Plan
from ..space import Space

CUT_SHARE = 0.5
"""Part of the crossovers that cut along the depth; the others draw each variable alone."""


def cross(space: Space, a: Plan, b: Plan, random_: random.Random) -> Plan:
    """Return a legal plan that decides as `a` or as `b` at each variable.

    It is one of them before some depth and the other after it, or either at each variable of the network by chance.
    The decisions outside the network are those of one parent, axis by axis.
    """
    depths = sorted({variable.depth for variable in space.network})
    if random_.random() < CUT_SHARE and len(depths) > 1:
        first = random_.random() < 0.5
        cut = random_.choice(depths[1:])
        from_a = [(variable.depth < cut) == first for variable in space.network]
    else:
        from_a = [random_.random() < 0.5 for _ in space.network]
    mine, yours = space.indices(a), space.indices(b)
    indices = [x if own else y for own, x, y in zip(from_a, mine, yours, strict=True)]
    like = Plan()
    for axis in dict.fromkeys(v.axis for v in space.variables if not v.in_network):
        parent = random_.choice((a, b))
        names = {variable.name for variable in space.of(axis)}
        like = like.changed({name: option for name, option in parent.choices.items() if name in names})
    return space.assemble(indices, like)
