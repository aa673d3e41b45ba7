"""The plan of least harm within a predicted latency: all variables of the network decide together.

Costs do not add up over variables: a layer's time depends on the channels before it and on its bits. So the program is
solved around one plan at a time, with each option's cost as the change of the prediction when one variable alone takes
it, and the limit is moved until the prediction for the answer itself keeps the budget.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from ..plan import Plan
from ..space import Indices, Space
from ..surrogates import Surrogates
from .forecast import Forecast
from .solver import allocate

OFFERED = 8
"""Options of one variable that the program chooses from; the rest are reached by steps afterwards."""
ROUNDS = 3
"""The best answer is solved around again at most this often."""
TRIES = 6
"""Limits tried around one plan."""
CLOSE = 0.01
"""An answer this far under the budget (as a part of it) is close enough."""
FEW = 4
"""Axes with at most so many different options are tried with each of them everywhere."""


def plan_within(
    space: Space,
    surrogates: Surrogates,
    budget_ms: float,
    like: Plan,
    forecast: Forecast | None = None,
) -> Plan | None:
    """Return the plan of least harm whose predicted latency is within the budget.

    Args:
        space: The space.
        surrogates: What is known of it. Variables of unknown sensitivity decide as `like` does.
        budget_ms: Latency in milliseconds, on the target that `like` is for.
        like: The plan that all decisions outside the network are taken from.
        forecast: To share with other calls for these surrogates and `like`.

    Returns:
        The best plan found; None when even the fastest one is over the budget.

    Raises:
        KeyError: Nothing predicts the latency of plans like `like`.
    """
    forecast = forecast or forecast_for(space, surrogates, like)
    found = _allotment(space, surrogates, like, forecast).solve(budget_ms)
    return None if found is None else space.assemble(found, like)


def fastest_plan(
    space: Space, surrogates: Surrogates, like: Plan, forecast: Forecast | None = None
) -> tuple[Plan, float]:
    """Return the plan of least predicted latency that descent finds, and that latency (ms).

    Arguments and errors are those of `plan_within`.
    """
    forecast = forecast or forecast_for(space, surrogates, like)
    found = _allotment(space, surrogates, like, forecast).fastest()
    return space.assemble(found, like), forecast.ms(found)


def forecast_for(space: Space, surrogates: Surrogates, like: Plan) -> Forecast:
    """Return predictions for plans like `like`.

    Raises:
        KeyError: Nothing predicts their latency.
    """
    target = space.spec(like).target
    surrogate = surrogates.latency_for(target)
    if surrogate is None:
        raise KeyError(target)
    return Forecast(space, surrogate, like)


def _allotment(space: Space, surrogates: Surrogates, like: Plan, forecast: Forecast) -> Allotment:
    harm = [surrogates.sensitivity.get(variable.name, ()) for variable in space.network]
    held = space.indices(like)
    free = [tuple(range(len(row))) if row else (at,) for row, at in zip(harm, held, strict=True)]
    return Allotment(forecast, harm, free)


class Allotment:
    """Shares a budget out over the variables of a network."""

    def __init__(self, forecast: Forecast, harm: Sequence[Sequence[float]], free: Sequence[Sequence[int]]) -> None:
        """Share out by these tables.

        Args:
            forecast: Predicts the latency of designs.
            harm: [variables][options], empty for a variable of unknown sensitivity.
            free: The options of each variable that may be taken.
        """
        self._forecast = forecast
        self._space = forecast.space
        self._harm = harm
        self._free = free
        self._offered = [_thinned(options) for options in free]
        self._starts = list(_starts(self._space, free))

    def solve(self, budget_ms: float) -> Indices | None:
        """Return the design of least harm found within the budget (ms); None when no design keeps it."""
        fastest = self.fastest()
        if self._forecast.ms(fastest) > budget_ms:
            return None
        best = fastest
        for start in (fastest, *self._starts):
            best = min(best, self._around(start, budget_ms) or best, key=self.harm)
        for _ in range(ROUNDS):
            found = self._around(best, budget_ms)
            if found is None or self.harm(found) >= self.harm(best):
                break
            best = found
        return self._relaxed(best, budget_ms)

    def fastest(self) -> Indices:
        """Return the design of least predicted latency, by coordinate descent.

        It is not always the most compressed one: narrow layers may be slower at few bits.
        """
        few = _axes_of_few_options(self._space)
        narrow = [None if v.axis in few else row[-1] for v, row in zip(self._space.network, self._offered, strict=True)]
        ends = [tuple(o if n is None else n for n, o in zip(narrow, start, strict=True)) for start in self._starts]
        best = min(ends, key=self._forecast.ms)
        for _ in range(ROUNDS):
            table = self._forecast.around(best, self._offered)
            found = tuple(row[ms.index(min(ms))] for row, ms in zip(self._offered, table, strict=True))
            if self._forecast.ms(found) >= self._forecast.ms(best):
                break
            best = found
        return self._forecast.repaired(best)

    def harm(self, indices: Indices) -> float:
        """Return the total harm over all variables."""
        return sum(row[o] for row, o in zip(self._harm, indices, strict=True) if row)

    def _around(self, start: Indices, budget_ms: float) -> Indices | None:
        """Return the least harmful answer within the budget that is found with costs as they are around `start`."""
        table = self._forecast.around(start, self._offered)
        base = self._forecast.ms(start)
        cost = [[ms - base for ms in row] for row in table]
        harm = [self._harms(start, i) for i in range(len(start))]
        best: Indices | None = None
        limit = budget_ms - base
        low, high = (
            -math.inf,
            math.inf,
        )  # an answer for `low` keeps the budget or there is none, one for `high` does not
        slope = 1.0
        last: tuple[float, float] | None = None
        for _ in range(TRIES):
            picks = allocate(harm, cost, limit)
            if picks is None:
                low = limit
            else:
                found = self._forecast.repaired(tuple(row[o] for row, o in zip(self._offered, picks, strict=True)))
                over = self._forecast.ms(found) - budget_ms
                if over <= 0:
                    low = limit
                    best = found if best is None else min(best, found, key=self.harm)
                    if over > -CLOSE * budget_ms:
                        break
                else:
                    high = limit = min(limit, sum(row[o] for row, o in zip(cost, picks, strict=True)))
                if last is not None and limit != last[0]:  # how much of a change of the limit arrives
                    slope = min(2.0, max(0.2, (over - last[1]) / (limit - last[0])))
                last = (limit, over)
                limit -= (over + 0.2 * CLOSE * budget_ms) / slope
            if not low < limit < high:
                limit = (low + high) / 2
            if not math.isfinite(limit):
                break
        return best

    def _harms(self, start: Indices, i: int) -> list[float]:
        """Return the harm of the options offered at the i-th variable.

        Where an option forces those of other variables, their harm counts with it.
        """
        row, options = self._harm[i], self._offered[i]
        if not row:
            return [0.0] * len(options)
        if not self._space.network[i].coupled:
            return [row[o] for o in options]
        return [self.harm(self._forecast.repaired((*start[:i], o, *start[i + 1 :]))) for o in options]

    def _relaxed(self, indices: Indices, budget_ms: float) -> Indices:
        """Return `indices` with what single variables can take back within the budget, the most harm per ms first."""
        for _ in range(ROUNDS):
            now, here, before = self._forecast.ms(indices), self.harm(indices), indices
            steps = []
            for i, o in self._gentler(indices):
                gain = self._harm[i][indices[i]] - self._harm[i][o]
                ms = self._forecast.ms((*indices[:i], o, *indices[i + 1 :]))
                if gain > 0 and ms <= budget_ms:
                    steps.append((gain / max(ms - now, 1e-9 * budget_ms), i, o))
            for _, i, o in sorted(steps, reverse=True):
                found = self._forecast.repaired((*indices[:i], o, *indices[i + 1 :]))
                if self._forecast.ms(found) <= budget_ms and self.harm(found) < here:
                    indices, here = found, self.harm(found)
            if indices == before:
                break
        return indices

    def _gentler(self, indices: Indices) -> Iterator[tuple[int, int]]:
        """Yield each variable of known harm with the option before the one it has."""
        for i, (row, o) in enumerate(zip(self._free, indices, strict=True)):
            if self._harm[i] and o in row and row.index(o) > 0:
                yield i, row[row.index(o) - 1]


def _thinned(options: Sequence[int]) -> tuple[int, ...]:
    """Return at most OFFERED of the options, evenly spread, the first and the last included."""
    if len(options) <= OFFERED:
        return tuple(options)
    last = len(options) - 1
    return tuple(options[round(i * last / (OFFERED - 1))] for i in range(OFFERED))


def _axes_of_few_options(space: Space) -> tuple[str, ...]:
    """Return the axes with so few different options that each can be tried everywhere, as precisions can."""
    axes = dict.fromkeys(variable.axis for variable in space.network)
    return tuple(axis for axis in axes if len(space.options(axis)) <= FEW)


def _starts(space: Space, free: Sequence[Sequence[int]]) -> Iterator[Indices]:
    """Yield the least compressed designs, with every uniform option of each axis that has few."""
    least = [row[0] for row in free]
    uniform = [(axis, option) for axis in _axes_of_few_options(space) for option in space.options(axis)]
    for axis, option in uniform or [("", 0)]:
        start = []
        for variable, row, first in zip(space.network, free, least, strict=True):
            at = variable.index(option) if variable.axis == axis and option in variable.options else first
            start.append(at if at in row else first)
        yield tuple(start)
