"""What a set of models is worth: the hypervolume of its front, and how it grew."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from autocompress.errors import UsageError

from .points import Point, Terms

BELOW_TEACHER = 0.15
"""Models that lose more accuracy than this count for nothing."""
ABOVE_TEACHER = 0.02
"""What a compressed model may at best gain: the far side of the box."""


@dataclass(frozen=True)
class Box:
    """Where models count. At the ceiling and 0 ms a model would be worth 1.

    Attributes:
        teacher_ms: Slower models count for nothing.
        floor: Less accurate models count for nothing.
        ceiling: The highest accuracy that is thought possible.
    """

    teacher_ms: float
    floor: float
    ceiling: float

    @classmethod
    def around(cls, terms: Terms) -> Box:
        """Return the box of a comparison.

        Raises:
            UsageError: The metric is no share, or the teacher knows nothing.
        """
        accuracy = terms.teacher_accuracy
        if not 0 <= accuracy <= 1:
            raise UsageError(f"the teacher's metric is {accuracy:g}; allowed: a share of 1, such as top-1 accuracy")
        floor = max(accuracy - BELOW_TEACHER, terms.chance)
        if accuracy <= floor:
            raise UsageError(
                f"the teacher's accuracy is {accuracy:.3f}, chance {terms.chance:.3f}; compare on a teacher that was "
                "trained"
            )
        return cls(terms.teacher_ms, floor, min(1.0, accuracy + ABOVE_TEACHER))

    @property
    def words(self) -> str:
        """The reference point, for a reader."""
        return (
            f"hypervolume: minimised are latency / teacher latency and 1 - accuracy; reference point: 1.0 times the "
            f"teacher's latency ({self.teacher_ms:.3g} ms) and accuracy {self.floor:.4f}; 1 would be accuracy "
            f"{self.ceiling:.4f} at 0 ms"
        )

    def volume(self, points: Sequence[Point]) -> float:
        """Return the hypervolume of models as a share of the box (Zitzler, Thiele 1999, doi:10.1109/4235.797969)."""
        import moocore
        import numpy as np

        costs = [(p.latency_ms / self.teacher_ms, 1 - p.accuracy) for p in points]
        corner = (1.0, 1 - self.floor)
        inside = [cost for cost in costs if cost[0] < corner[0] and cost[1] < corner[1]]
        if not inside:
            return 0.0
        return float(moocore.hypervolume(np.array(inside), ref=corner)) / (self.ceiling - self.floor)


@dataclass(frozen=True)
class Curve:
    """A value that rises; it is 0 before the first rise.

    Attributes:
        seconds: When it rises.
        values: What it rises to.
    """

    seconds: tuple[float, ...]
    values: tuple[float, ...]

    def at(self, seconds: float) -> float:
        """Return the value at this time."""
        index = bisect.bisect_right(self.seconds, seconds)
        return self.values[index - 1] if index else 0.0

    def passes(self, value: float) -> float | None:
        """Return the seconds after which it is above `value`; None if it never is."""
        return next((s for s, v in zip(self.seconds, self.values, strict=True) if v > value), None)


def curve(points: Sequence[Point], worth: Callable[[Sequence[Point]], float]) -> Curve:
    """Return what the models finished so far are worth, at each time when that changed."""
    ordered = sorted(points, key=lambda p: p.seconds)
    seconds: list[float] = []
    values: list[float] = []
    for count, point in enumerate(ordered, 1):
        value = worth(ordered[:count])
        if value > (values[-1] if values else 0.0):
            seconds.append(point.seconds)
            values.append(value)
    return Curve(tuple(seconds), tuple(values))


def best_accuracy(points: Sequence[Point]) -> float:
    """Return the highest accuracy of these models, 0 without any."""
    return max((p.accuracy for p in points), default=0.0)


def within(points: Sequence[Point], budget_ms: float) -> list[Point]:
    """Return the models that meet the budget with the upper end of their interval."""
    return [p for p in points if p.bound_ms <= budget_ms]
