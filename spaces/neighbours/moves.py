"""Moves: plans next to a plan. They refine what a description in few numbers found."""

from __future__ import annotations

import functools
import random
from collections.abc import Sequence
from dataclasses import dataclass

from ..plan import Plan
from ..space import Space
from ..surrogates import Surrogates
from ..variables import Option, Variable
from .exchange import Exchange

EXCHANGE_SHARE = 0.5
"""Part of the moves that are exchanges, where it is known what to exchange."""
FEW = 4
"""A variable with at most so many options may take any other one; a longer row is gone along step by step."""
NUDGE = 0.25
"""How far a number moves at most, as a part of its range; a number on a logarithmic scale at most doubles or halves."""


@dataclass(frozen=True)
class Mover:
    """Draws neighbours of plans within a space.

    Attributes:
        space: The space.
        surrogates: What is known of sensitivity and latency, for exchanges; None where nothing is.
    """

    space: Space
    surrogates: Surrogates | None = None

    def move(self, plan: Plan, random_: random.Random) -> Plan:
        """Return a legal plan that differs from `plan` in one decision, or in some that pay for each other.

        Returns:
            The plan; `plan` itself when the space allows no move.
        """
        if self._exchange is not None and random_.random() < EXCHANGE_SHARE:
            swapped = self._exchange.swap(plan, random_)
            if swapped != plan:
                return swapped
        ways = list(self._ways)
        random_.shuffle(ways)
        for variables, steps in ways:
            moved = self.space.repair(_moved(plan, variables, steps, random_))
            if moved != plan:
                return moved
        return plan

    @functools.cached_property
    def _exchange(self) -> Exchange | None:
        return None if self.surrogates is None else Exchange(self.space, self.surrogates)

    @functools.cached_property
    def _ways(self) -> list[tuple[list[Variable], tuple[int, ...]]]:
        """Variables of an axis, with the steps that are taken at as many of them: 0 is any step."""
        ways: list[tuple[list[Variable], tuple[int, ...]]] = []
        for axis in self.space.axes:
            movable = [v for v in self.space.of(axis.name) if v.is_searched]
            rows = [v for v in movable if v.kind == "ordered" and len(v.options) > FEW]
            if movable:
                ways.append((movable, (0,)))
            if len(rows) > 1:
                ways.append((rows, (1, -1)))  # one pays for another
        return ways


def _moved(plan: Plan, variables: Sequence[Variable], steps: Sequence[int], random_: random.Random) -> Plan:
    """Return `plan` after these steps, each at another variable drawn by chance that can take it."""
    pool = list(variables)
    random_.shuffle(pool)
    changed: dict[str, Option] = {}
    for step in steps:
        for i, variable in enumerate(pool):
            now = variable.legal(plan.choices.get(variable.name, variable.options[0]))
            option = _stepped(variable, now, step, random_)
            if option != now:
                changed[variable.name] = option
                del pool[i]
                break
    return plan.changed(changed)


def _stepped(variable: Variable, now: Option, step: int, random_: random.Random) -> Option:
    if variable.bounds is not None:
        value, bounds = float(now), variable.bounds
        if bounds.log:
            return bounds.clip(value * 2 ** random_.uniform(-1, 1))
        return bounds.clip(value + random_.uniform(-NUDGE, NUDGE) * (bounds.high - bounds.low))
    if not step and (variable.kind == "unordered" or len(variable.options) <= FEW):
        others = [option for option in variable.drawn if option != now]
        return random_.choice(others) if others else now
    at = variable.index(now) + (step or random_.choice((-1, 1)))
    return variable.options[at] if 0 <= at < len(variable.options) else now
