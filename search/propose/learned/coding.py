"""Rows: plans as numbers, which can be crossed, mutated and learned from all at once."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ....spaces.plan import Plan
from ....spaces.space import Space
from ....spaces.variables import Option, Variable

Rows = NDArray[np.float64]
"""Plans [n, variables]: the number of the option, or of a number its place in its range, 0.0 to 1.0."""


class Coding:
    """Turns plans into rows and back.

    Attributes:
        variables: What a row tells of: all network variables, then those outside the network that are searched.
        levels: How many options each of them has; 0 for numbers.
        network: How many of them are network variables.
    """

    def __init__(self, space: Space) -> None:
        """Write the plans of `space`."""
        self._space = space
        rest = tuple(v for v in space.variables if not v.in_network and v.is_searched)
        self.variables: tuple[Variable, ...] = (*space.network, *rest)
        self.network = len(space.network)
        self.levels = np.array(
            [0 if v.bounds is not None else len(_options(v)) for v in self.variables], dtype=np.int64
        )

    def row(self, plan: Plan) -> Rows:
        """Return the row [variables] of a plan."""
        indices = self._space.indices(plan)
        return np.array([*map(float, indices), *(_number(v, plan) for v in self.variables[self.network :])])

    def plan(self, row: Sequence[float] | Rows) -> Plan:
        """Return the legal plan that a row stands for."""
        inside, outside = self.variables[: self.network], self.variables[self.network :]
        indices = [_searched(v, int(x)) for v, x in zip(inside, row[: self.network], strict=True)]
        rest = {v.name: _option(v, float(x)) for v, x in zip(outside, row[self.network :], strict=True)}
        return self._space.assemble(indices, self._space.taught.changed(rest))


def _searched(variable: Variable, index: int) -> int:
    """Return the index itself, or that of the first option that a search may draw."""
    drawn = variable.drawn
    return index if variable.options[index] in drawn else variable.index(drawn[0])


def _options(variable: Variable) -> tuple[Option, ...]:
    return variable.options if variable.in_network else variable.drawn


def _number(variable: Variable, plan: Plan) -> float:
    option = plan.choices.get(variable.name, variable.options[0])
    if variable.bounds is None:
        return float(variable.drawn.index(option)) if option in variable.drawn else 0.0
    low, high = variable.bounds.low, variable.bounds.high
    value = variable.bounds.clip(float(option))
    if variable.bounds.log:
        low, high, value = math.log(low), math.log(high), math.log(value)
    return (value - low) / max(high - low, 1e-12)


def _option(variable: Variable, number: float) -> Option:
    if variable.bounds is None:
        return variable.drawn[int(number)]
    low, high = variable.bounds.low, variable.bounds.high
    if variable.bounds.log:
        return variable.bounds.clip(math.exp(math.log(low) + number * (math.log(high) - math.log(low))))
    return variable.bounds.clip(low + number * (high - low))
