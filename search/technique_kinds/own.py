"""The technique that takes another network: a student of the user's own, taught by the teacher."""

from __future__ import annotations

from collections.abc import Iterator

from ...spaces.axes.student import TEACHER, StudentAxis
from .context import DesignContext, design
from .facts import axis
from .kind import Marks, Steps, TechniqueKind, on_labels


def _own(context: DesignContext) -> Iterator[Steps]:
    for name in context.space.options(StudentAxis.name):
        if name != TEACHER:
            plan = context.space.repair(context.taught().changed({StudentAxis.name: name}))
            yield (design(plan, f"student {name}"),)


OWN_STUDENT = TechniqueKind(
    "own student",
    "a network of the user's own in place of the teacher, taught by it",
    _own,
    marks=Marks(
        frozenset({"student"}),
        taught=True,
        tells=lambda trial, recovery: not (recovery.fresh or on_labels(recovery) or recovery.quantization_aware),
    ),
    needs=(axis(StudentAxis.name, "the task names no students of its own"),),
)
