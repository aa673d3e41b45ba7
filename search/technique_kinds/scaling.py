"""Techniques that drop whole blocks, make inputs smaller, or do both and narrow the network; the teacher teaches."""

from __future__ import annotations

from collections.abc import Iterator

from ...spaces.axes.size import FULL as FULL_SIZE
from ...spaces.sizes import WHAT as SIZE_OF_INPUTS
from ...spaces.variables import Variable
from ..propose.compound import MOST, scaled
from ..propose.counts import evenly, on_or_off
from ..propose.role_classes import role_classes
from .context import DesignContext, design
from .facts import axis, scaled_together
from .kind import Steps, TechniqueKind

USUAL_STEPS = "2 steps smaller"
"""Where no budget says how small a student must be: about a quarter of the arithmetic is left."""
PARTS = tuple(i / 6 for i in range(1, 7))
"""Of the blocks that may go."""


def _scaled(context: DesignContext) -> Iterator[Steps]:
    teaching = context.taught()
    steps = [i / 2 for i in range(1, int(2 * MOST) + 1)]
    plans = {f"{each:g} steps smaller": scaled(context.space, each, teaching) for each in steps}
    for label, plan in context.within(plans, USUAL_STEPS):
        yield (design(plan, label),)


def _shallower(context: DesignContext) -> Iterator[Steps]:
    roles = [[context.space.network[place] for place in known.places] for known in role_classes(context.space)]
    roles = [its for its in roles if on_or_off(its)]
    plans = {}
    for part in PARTS:
        gone: list[Variable] = [its[i] for its in roles for i in evenly(len(its), round(part * len(its)))]
        if gone:
            plan = context.taught().changed({variable.name: variable.options[-1] for variable in gone})
            # blocks of the user's own networks are none of this student's
            if count := len(context.space.spec(plan).dropped):
                plans[f"without {count} blocks"] = context.space.repair(plan)
    usual = list(plans)[(len(plans) - 1) // 2] if plans else ""
    for label, plan in context.within(plans, usual):
        yield (design(plan, label),)


def _smaller_inputs(context: DesignContext) -> Iterator[Steps]:
    sizes = [size for size in context.space.options("size") if size != FULL_SIZE]
    plans = {f"inputs of {size}": context.space.uniform({"size": size}, context.taught()) for size in sizes}
    for label, plan in context.within(plans, f"inputs of {sizes[len(sizes) // 2]}" if sizes else ""):
        yield (design(plan, label),)


SHALLOWER = TechniqueKind(
    "fewer blocks",
    "blocks spread evenly over the depth are dropped, taught by the teacher",
    _shallower,
    needs=(axis("depth", "no axis of this study drops blocks", what="depth"),),
    narrows=True,
)
SMALLER_INPUTS = TechniqueKind(
    "smaller inputs",
    "smaller images or shorter sequences, taught by the teacher",
    _smaller_inputs,
    needs=(axis("size", "no axis of this study makes inputs smaller", what=SIZE_OF_INPUTS),),
    narrows=True,
)
COMPOUND = TechniqueKind(
    "compound scaling",
    "fewer blocks, fewer channels and smaller inputs by fixed factors of one number, taught by the teacher",
    _scaled,
    needs=(scaled_together,),
    narrows=True,
)
