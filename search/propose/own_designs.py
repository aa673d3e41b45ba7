"""Plans of the user's own students as they are: whole, in each precision, as taught first and taught again."""

from __future__ import annotations

from collections.abc import Iterator

from ...spaces.axes.bits import FULL
from ...spaces.axes.student import TEACHER
from ...spaces.plan import Plan
from ...spaces.space import Space
from ..trial import Origin
from .by_hand import PRECISIONS, Design, on_targets

LABEL = "initial design"


def own_students(space: Space) -> Iterator[Design]:
    """Yield the plans; none where the task names no students."""
    widths = (FULL, *(bits for bits in PRECISIONS if bits in space.options("bits")))
    for student in space.options("student"):
        if student == TEACHER:
            continue
        for like in (Plan(), space.taught):
            for bits in widths:
                yield from on_targets(space, Origin.DESIGN, LABEL, like.changed({"student": student}), bits=bits)
