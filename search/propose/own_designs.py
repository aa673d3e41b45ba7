"""Plans of the user's own students as they are: whole, in full and in low precision, as taught first and again."""

from __future__ import annotations

from collections.abc import Iterator

from ...spaces.axes.bits import FULL
from ...spaces.axes.student import TEACHER, is_full_width
from ...spaces.plan import Plan
from ...spaces.space import Space
from ..trial import Origin
from .by_hand import PRECISIONS, Design, on_targets

LABEL = "initial design"


def own_students(space: Space) -> Iterator[Design]:
    """Yield the plans; none where the task names no students.

    A narrower form of a student has one plan alone: a task of a few students would else spend a short search on them,
    and whatever is good leads to its like.
    """
    lowest = next((bits for bits in PRECISIONS if bits in space.options("bits")), FULL)
    for student in (str(option) for option in space.options("student")):
        if student == TEACHER:
            continue
        whole = is_full_width(student)
        for like in (Plan(), space.taught) if whole else (space.taught,):
            for bits in dict.fromkeys((FULL, lowest) if whole else (lowest,)):
                yield from on_targets(space, Origin.DESIGN, LABEL, like.changed({"student": student}), bits=bits)
