"""Techniques that teach a network which has none of the teacher's weights."""

from __future__ import annotations

from collections.abc import Iterator

from ...spaces.axes.bits import FULL
from ...spaces.axes.recovery import NEW, START
from ...spaces.plan import Plan
from ..propose.by_hand import uniform
from .context import FULL_TIMES, DesignContext, design
from .facts import narrower
from .kind import Marks, Steps, TechniqueKind, on_labels


def _distilled(context: DesignContext) -> Iterator[Steps]:
    def plan(width: float) -> Plan:
        return uniform(context.space, width, FULL, context.taught(FULL_TIMES).changed({START: NEW}))

    for width in context.widths(plan):
        yield (design(plan(width), f"distil {width:.0%}, new weights"),)


DISTILLATION = TechniqueKind(
    "distillation alone",
    "a narrower network with new weights, taught by the teacher",
    _distilled,
    needs=(narrower,),
    marks=Marks(
        frozenset({"channels"}),
        taught=True,
        tells=lambda trial, recovery: (
            trial.by_hand and recovery.fresh and not on_labels(recovery) and not recovery.quantization_aware
        ),
        teaching=frozenset({"fresh"}),
    ),
    narrows=True,
)
