"""Shallower students: every second or third layer of a network goes, wherever blocks can."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest

from ...spaces.axes.bits import FULL
from ...spaces.space import Space
from ..trial import Origin
from .by_hand import Design, on_targets
from .counts import on_or_off
from .role_classes import role_classes

STEPS = (2, 3)
"""Of so many layers that follow each other, one goes."""


def shallower(space: Space) -> Iterator[Design]:
    """Yield plans without every second and without every third layer, on every target that plans choose from.

    A layer is what takes turns: a residual block, or attention with the feed-forward behind it.
    """
    roles = [[space.network[p] for p in known.places] for known in role_classes(space)]
    layers = [[v for v in some if v is not None] for some in zip_longest(*(vs for vs in roles if on_or_off(vs)))]
    bits = 8 if 8 in space.options("bits") else FULL
    for step in STEPS if len(layers) > 1 else ():
        gone = {v.name: v.options[-1] for layer in layers[1::step] for v in layer}
        yield from on_targets(space, Origin.DESIGN, "initial design", space.taught.changed(gone), bits=bits)
