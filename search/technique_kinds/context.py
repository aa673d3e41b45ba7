"""What techniques make their designs of: the space, which widths the budget leaves, and how students are taught."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ...spaces.axes.recovery import AWARE, METHOD, POST_TRAINING, START, TAUGHT, TEACHERS
from ...spaces.plan import Plan
from ...spaces.space import Space
from ...spaces.spec import StudentSpec
from ...spaces.variables import Option
from ..propose.by_hand import Design
from ..trial import Origin

WIDTHS = tuple(i / 16 for i in range(15, 2, -1))
USUAL_WIDTH = 0.5
"""Where no budget says how narrow a student must be: the one that tutorials take."""
RATES = (1.0, 0.5, 2.0)
"""Learning rates that are tried, as multiples of the usual one."""
FULL_TIMES = 2.5
"""Learning rate of students with new weights, which have further to go, and of those that begin their schedule anew, as
a multiple of the usual one."""


@dataclass(frozen=True)
class DesignContext:
    """What designs are made of.

    Attributes:
        space: The space.
        fits: Tells whether a student keeps the budget, by what was measured or is predicted. None where there is no
            budget, or nothing predicts latency.
    """

    space: Space
    fits: Callable[[StudentSpec], bool] | None = None

    def widths(self, narrowed: Callable[[float], Plan]) -> list[float]:
        """Return the widths to try: those within the budget, widest first; without one, from the usual width on.

        Args:
            narrowed: Returns the plan of a width, a part of the channels between 0.0 and 1.0.
        """
        specs = {width: self.space.spec(narrowed(width)) for width in WIDTHS}
        found = [width for width, spec in specs.items() if spec.channels]
        if self.fits is None:
            return sorted(found, key=lambda width: abs(width - USUAL_WIDTH))
        return [width for width in found if self.fits(specs[width])] or found[-1:]

    def within(self, plans: Mapping[str, Plan], usual: str) -> list[tuple[str, Plan]]:
        """Return the plans to try, each once: those within the budget, or the last; without one, from the usual one on.

        Args:
            plans: Label -> plan, from the largest network to the smallest.
            usual: Label of the one that is tried first where no budget says how small a student must be.
        """
        labels: dict[Plan, str] = {}
        for label, plan in plans.items():
            labels.setdefault(plan, label)
        found = [(label, plan) for plan, label in labels.items()]
        if self.fits is not None:
            return [each for each in found if self.fits(self.space.spec(each[1]))] or found[-1:]
        first = list(labels).index(plans[usual]) if usual in plans else 0
        return sorted(found, key=lambda each: abs(found.index(each) - first))

    def taught(self, rate: float = 1.0, on_labels: bool = False, aware: bool = False) -> Plan:
        """Return the plan of a student that only is taught.

        Args:
            rate: Of learning, as a multiple of the usual one.
            on_labels: Whether it learns from labels alone, without the teacher.
            aware: Whether layers of low bits are trained with fake quantization.
        """
        choices: dict[str, Option] = {
            METHOD: TAUGHT,
            START: TEACHERS,
            "recovery:quantization": AWARE if aware else POST_TRAINING,
        }
        if rate != 1.0:
            choices["recovery:learning_rate"] = rate * self.usual_rate
        if on_labels:
            choices |= {"recovery:alpha": 0.0, "recovery:feature_weight": 0.0}
        return self.space.taught.changed(choices)

    def at(self, rate: float) -> str:
        """Return what a label says of a learning rate, a multiple of the usual one."""
        return "" if rate == 1.0 else f", rate {rate * self.usual_rate:.3g}"

    @property
    def usual_rate(self) -> float:
        """The learning rate of students of this study where nothing else is decided."""
        return self.space.context.recovery.learning_rate


def design(plan: Plan, label: str, technique: str = "") -> Design:
    """Return a design that is made by hand."""
    return Design(plan, Origin.BY_HAND, label, None, technique)
