"""Techniques that make a whole network smaller in several ways at once."""

from __future__ import annotations

from collections.abc import Iterator

from ..propose.compound import MOST, scaled
from .context import DesignContext, design
from .facts import scaled_together
from .kind import Steps, TechniqueKind

USUAL_STEPS = 2.0
"""Where no budget says how small a student must be: about a quarter of the arithmetic is left."""


def _scaled(context: DesignContext) -> Iterator[Steps]:
    space, teaching = context.space, context.taught()
    steps = [i / 2 for i in range(1, int(2 * MOST) + 1)]
    plans = {each: scaled(space, each, teaching) for each in steps}
    if context.fits is None:
        tried = sorted(steps, key=lambda each: abs(each - USUAL_STEPS))
    else:
        tried = [each for each in steps if context.fits(space.spec(plans[each]))] or steps[-1:]
    begun = set()
    for each in tried:
        if plans[each] not in begun:  # steps that are too small to tell give the same network
            begun.add(plans[each])
            yield (design(plans[each], f"{each:g} steps smaller"),)


COMPOUND = TechniqueKind(
    "compound scaling",
    "fewer blocks, fewer channels and smaller inputs by fixed factors of one number, taught by the teacher",
    _scaled,
    needs=(scaled_together,),
    narrows=True,
)
