"""The integer program behind shares of a budget: one option at each site, at the least damage that a limit allows.

A multiple-choice knapsack (Kellerer, Pferschy and Pisinger 2004, Knapsack Problems, chapter 11): a Lagrangian bound
from the hulls of all sites, then dynamic programming over the few options that the bound leaves. HiGHS, a general
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
"""An answer may have this much more damage than the best one, as a part of it."""
MANY_STATES = 20_000
"""Partial answers kept at once; of more only the most promising, and GAP is no longer certain."""


def allocate(damage: Table, cost: Table, limit: float) -> tuple[int, ...] | None:
    """The option for each site with the least total damage (up to GAP) among those that cost `limit` at most in
    total; None when there are none. damage, cost: [sites][options] of any sign, as many options as a site has.

    Raises:
        ValueError: the tables differ in shape, a site has no option, or a number is not finite.
    """
    sizes = [len(row) for row in damage]
    if sizes != [len(row) for row in cost] or 0 in sizes:
        raise ValueError(f"damage and cost must hold the same options for each site; got {sizes} for damage")
    if not all(math.isfinite(x) for table in (damage, cost, [[limit]]) for row in table for x in row):
        raise ValueError("damages, costs and the limit must be finite")
    limit += 1e-12 * max(1.0, abs(limit))  # sums in another order differ by as much
    if math.fsum(min(row) for row in cost) > limit:
        return None
    price, picks = _relaxed(damage, cost, limit)
    return _refined(damage, cost, limit, price, picks)


def _relaxed(damage: Table, cost: Table, limit: float) -> tuple[float, list[int]]:
    """What a unit of cost is worth at the optimum of the relaxed program, where options may be mixed, and options
    near it that keep the limit (Sinha and Zoltners 1979, doi:10.1287/opre.27.3.503)."""
    hulls = [_hull(d, c) for d, c in zip(damage, cost, strict=True)]
    picks = [hull[0] for hull in hulls]
    spent = sum(cost[i][o] for i, o in enumerate(picks))
    steps = []
    for i, hull in enumerate(hulls):
        for a, b in itertools.pairwise(hull):
            steps.append(((damage[i][a] - damage[i][b]) / (cost[i][b] - cost[i][a]), i, b))
    steps.sort(key=lambda step: (-step[0], step[1]))
    price, closed = 0.0, set()
    for worth, i, option in steps:
        more = cost[i][option] - cost[i][picks[i]]
        if i in closed:
            continue
        if spent + more > limit:
            price = price or worth
            closed.add(i)
        else:
            spent += more
            picks[i] = option
    return price, picks


def _hull(damage: Sequence[float], cost: Sequence[float]) -> list[int]:
    """The options on the lower convex hull, from the cheapest to the least harmful."""
    hull: list[int] = []
    for o in sorted(range(len(cost)), key=lambda o: (cost[o], damage[o])):
        if hull and damage[o] >= damage[hull[-1]]:
            continue
        while len(hull) > 1:
            a, b = hull[-2], hull[-1]
            if (damage[a] - damage[b]) * (cost[o] - cost[b]) > (damage[b] - damage[o]) * (cost[b] - cost[a]):
                break
            hull.pop()
        hull.append(o)
    return hull


def _refined(damage: Table, cost: Table, limit: float, price: float, picks: list[int]) -> tuple[int, ...]:
    """The best answer, by dynamic programming over the options that could still beat the best one so far.

    An answer has damage >= bound + the sum over sites of `over` (how much worse than the best an option is when a
    unit of cost has that price), so that all with `over` beyond what the best answer lies above the bound are out.
    """
    over = [[x + price * y for x, y in zip(d, c, strict=True)] for d, c in zip(damage, cost, strict=True)]
    least = [min(row) for row in over]
    over = [[x - low for x in row] for row, low in zip(over, least, strict=True)]
    bound = sum(least) - price * limit
    best = sum(damage[i][o] for i, o in enumerate(picks))
    answer = list(picks)

    def room() -> float:
        return best - GAP * abs(best) - bound

    open_ = [[o for o, x in enumerate(row) if x < room()] for row in over]
    rest = [_preferred(row, c) for row, c in zip(over, cost, strict=True)]  # of a partial answer
    sites = sorted((i for i, left in enumerate(open_) if left != [rest[i]]), key=lambda i: len(open_[i]))
    spent = np.array([sum(cost[i][rest[i]] for i in range(len(rest)))])
    harm = np.array([sum(damage[i][rest[i]] for i in range(len(rest)))])
    excess = np.zeros(1)
    saved = sum(cost[i][rest[i]] - min(cost[i]) for i in sites)  # what sites to come can still save
    trail: list[tuple[NDArray[np.intp], NDArray[np.intp]]] = []
    for i in sites:
        options = np.array(open_[i] or [rest[i]])
        base = rest[i]
        saved -= cost[i][base] - min(cost[i])
        new_spent = (spent[:, None] + (np.array(cost[i])[options] - cost[i][base])).ravel()
        new_harm = (harm[:, None] + (np.array(damage[i])[options] - damage[i][base])).ravel()
        new_excess = (excess[:, None] + np.array(over[i])[options]).ravel()
        kept = np.flatnonzero((new_excess < room()) & (new_spent - saved <= limit))
        kept = kept[np.lexsort((new_harm[kept], new_spent[kept]))]
        lowest = np.minimum.accumulate(new_harm[kept])
        kept = kept[np.concatenate(([True], new_harm[kept][1:] < lowest[:-1]))] if len(kept) else kept
        if len(kept) > MANY_STATES:
            kept = kept[np.argpartition(new_excess[kept], MANY_STATES)[:MANY_STATES]]
        if not len(kept):
            break
        trail.append((kept // len(options), options[kept % len(options)]))
        spent, harm, excess = new_spent[kept], new_harm[kept], new_excess[kept]
        fitting = np.where(spent <= limit, harm, np.inf)
        at = int(fitting.argmin())
        if fitting[at] < best:
            best, answer = float(fitting[at]), list(rest)
            for site, (parents, taken) in zip(reversed(sites[: len(trail)]), reversed(trail), strict=True):
                answer[site] = int(taken[at])
                at = int(parents[at])
    return tuple(answer)


def _preferred(over: Sequence[float], cost: Sequence[float]) -> int:
    """The best option at the price; the cheapest of equals."""
    return min(range(len(over)), key=lambda o: (round(over[o], 12), cost[o]))
