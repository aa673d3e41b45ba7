"""The integer program behind shares of a budget: an option for each variable, of the least harm that a limit allows.

A multiple-choice knapsack (Kellerer, Pferschy and Pisinger 2004, Knapsack Problems, chapter 11): a Lagrangian bound
from the hulls of all variables, then dynamic programming over the few options that the bound leaves. HiGHS, a general
solver, gives the same answers ten times slower, and writes lines of its own to standard output.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Table = Sequence[Sequence[float]]
Floats = NDArray[np.float64]

GAP = 1e-4
"""An answer may have this much more harm than the best one, as a part of it."""
MANY_STATES = 20_000
"""Partial answers kept at once; of more only the most promising, and GAP is no longer certain."""


def allocate(harm: Table, cost: Table, limit: float) -> tuple[int, ...] | None:
    """Choose an option for each variable, of the least total harm among those whose total cost keeps a limit.

    Args:
        harm: [variables][options], harm of any sign.
        cost: [variables][options], of any sign; as many options as in `harm`.
        limit: Of the total cost.

    Returns:
        The number of an option for each variable, within GAP of the least harm; None when nothing keeps the limit.

    Raises:
        ValueError: the tables differ in shape, a variable has no option, or a number is not finite.
    """
    sizes = [len(row) for row in harm]
    if sizes != [len(row) for row in cost] or 0 in sizes:
        raise ValueError(f"harm and cost must hold the same options for each variable; got {sizes} for harm")
    if not all(math.isfinite(x) for table in (harm, cost, [[limit]]) for row in table for x in row):
        raise ValueError("harms, costs and the limit must be finite")
    limit += 1e-12 * max(1.0, abs(limit))  # sums in another order differ by as much
    if math.fsum(min(row) for row in cost) > limit:
        return None
    price, picks = _relaxed(harm, cost, limit)
    return _refined(harm, cost, limit, price, picks)


def _relaxed(harm: Table, cost: Table, limit: float) -> tuple[float, list[int]]:
    """Return what a unit of cost is worth at the optimum of the relaxed program, and options near it.

    In the relaxed program options may be mixed (Sinha and Zoltners 1979, doi:10.1287/opre.27.3.503). The options that
    are returned keep the limit.
    """
    hulls = [_hull(d, c) for d, c in zip(harm, cost, strict=True)]
    picks = [hull[0] for hull in hulls]
    spent = sum(cost[i][o] for i, o in enumerate(picks))
    steps = []
    for i, hull in enumerate(hulls):
        for a, b in itertools.pairwise(hull):
            steps.append(((harm[i][a] - harm[i][b]) / (cost[i][b] - cost[i][a]), i, b))
    steps.sort(key=lambda step: (-step[0], step[1]))
    price, closed = 0.0, set()
    for gain, i, option in steps:
        more = cost[i][option] - cost[i][picks[i]]
        if i in closed:
            continue
        if spent + more > limit:
            price = price or gain
            closed.add(i)
        else:
            spent += more
            picks[i] = option
    return price, picks


def _hull(harm: Sequence[float], cost: Sequence[float]) -> list[int]:
    """Return the options on the lower convex hull, from the cheapest to the least harmful."""
    hull: list[int] = []
    for o in sorted(range(len(cost)), key=lambda o: (cost[o], harm[o])):
        if hull and harm[o] >= harm[hull[-1]]:
            continue
        while len(hull) > 1:
            a, b = hull[-2], hull[-1]
            if (harm[a] - harm[b]) * (cost[o] - cost[b]) > (harm[b] - harm[o]) * (cost[b] - cost[a]):
                break
            hull.pop()
        hull.append(o)
    return hull


def _refined(harm: Table, cost: Table, limit: float, price: float, picks: list[int]) -> tuple[int, ...]:
    """Return the best answer, by dynamic programming over the options that could still beat the best one so far.

    An answer has harm >= bound + the sum over variables of `over` (how much worse than the best an option is when a
    unit of cost has that price), so that all with `over` beyond what the best answer lies above the bound are out.
    """
    over = [[x + price * y for x, y in zip(d, c, strict=True)] for d, c in zip(harm, cost, strict=True)]
    least = [min(row) for row in over]
    over = [[x - low for x in row] for row, low in zip(over, least, strict=True)]
    bound = sum(least) - price * limit
    best = sum(harm[i][o] for i, o in enumerate(picks))
    answer = list(picks)

    def room() -> float:
        return best - GAP * abs(best) - bound

    open_ = [[o for o, x in enumerate(row) if x < room()] for row in over]
    rest = [_preferred(row, c) for row, c in zip(over, cost, strict=True)]  # of a partial answer
    variables = sorted((i for i, left in enumerate(open_) if left != [rest[i]]), key=lambda i: len(open_[i]))
    spent = np.array([sum(cost[i][rest[i]] for i in range(len(rest)))])
    total = np.array([sum(harm[i][rest[i]] for i in range(len(rest)))])
    excess = np.zeros(1)
    saved = sum(cost[i][rest[i]] - min(cost[i]) for i in variables)  # what variables to come can still save
    trail: list[tuple[NDArray[np.intp], NDArray[np.intp]]] = []
    for i in variables:
        options = np.array(open_[i] or [rest[i]])
        base = rest[i]
        saved -= cost[i][base] - min(cost[i])
        new_spent = (spent[:, None] + (np.array(cost[i])[options] - cost[i][base])).ravel()
        new_total = (total[:, None] + (np.array(harm[i])[options] - harm[i][base])).ravel()
        new_excess = (excess[:, None] + np.array(over[i])[options]).ravel()
        kept = np.flatnonzero((new_excess < room()) & (new_spent - saved <= limit))
        kept = kept[np.lexsort((new_total[kept], new_spent[kept]))]
        lowest = np.minimum.accumulate(new_total[kept])
        kept = kept[np.concatenate(([True], new_total[kept][1:] < lowest[:-1]))] if len(kept) else kept
        if len(kept) > MANY_STATES:
            kept = kept[np.argpartition(new_excess[kept], MANY_STATES)[:MANY_STATES]]
        if not len(kept):
            break
        trail.append((kept // len(options), options[kept % len(options)]))
        spent, total, excess = new_spent[kept], new_total[kept], new_excess[kept]
        fitting = np.where(spent <= limit, total, np.inf)
        at = int(fitting.argmin())
        if fitting[at] < best:
            best, answer = float(fitting[at]), list(rest)
            for variable, (parents, taken) in zip(reversed(variables[: len(trail)]), reversed(trail), strict=True):
                answer[variable] = int(taken[at])
                at = int(parents[at])
    return tuple(answer)


def _preferred(over: Sequence[float], cost: Sequence[float]) -> int:
    """Return the best option at the price; the cheapest of equals."""
    return min(range(len(over)), key=lambda o: (round(over[o], 12), cost[o]))
