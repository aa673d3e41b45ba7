"""The plan of least damage within a predicted latency: all sites decide together.

Costs do not add up over sites: a layer's time depends on the channels before it and on its bits. So the program is
solved around one plan at a time, with each option's cost as the change of the prediction when one site alone takes it,
and the limit is moved until the prediction for the answer itself keeps the budget.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from ..plan import Plan
from ..sites import Sites
from ..surrogates import Guide
from .forecast import Choices, Forecast
from .prices import Prices
from .solver import allocate

OFFERED = 8
"""Options of one site that the program chooses from; the rest are reached by steps afterwards."""
ROUNDS = 3
"""The best answer is solved around again at most this often."""
TRIES = 6
"""Limits tried around one plan."""
CLOSE = 0.01
"""An answer this far under the budget (as a part of it) is close enough."""


def plan_within(
    sites: Sites,
    guide: Guide,
    target: str,
    budget_ms: float,
    like: Plan,
    prices: Prices | None = None,
    forecast: Forecast | None = None,
) -> Plan | None:
    """The plan of least damage at these prices among those found whose predicted latency on `target` is within the
    budget (ms); None when even the fastest one is over it. Recovery and target are those of `like`; sites without a
    known damage choose as it does. forecast: to share with other calls for this guide, target and `like`.

    Raises:
        KeyError: the guide has no latency for this target.
    """
    forecast = forecast or Forecast(sites, guide.latency[target], like)
    choices = _allotment(sites, guide, like, prices or Prices(), forecast).solve(budget_ms)
    return None if choices is None else sites.assemble(choices, like)


def fastest_plan(
    sites: Sites, guide: Guide, target: str, like: Plan, forecast: Forecast | None = None
) -> tuple[Plan, float]:
    """The plan of least predicted latency on `target` that descent finds, and that latency (ms). The rest as in
    `plan_within`."""
    forecast = forecast or Forecast(sites, guide.latency[target], like)
    choices = _allotment(sites, guide, like, Prices(), forecast).fastest()
    return sites.assemble(choices, like), forecast.ms(choices)


def _allotment(sites: Sites, guide: Guide, like: Plan, prices: Prices, forecast: Forecast) -> Allotment:
    known = [guide.damage.get(site.name) for site in sites]
    harm = [prices.tilted(site, d) if d else () for site, d in zip(sites, known, strict=True)]
    held = sites.choices(like)
    free = [tuple(range(len(d))) if d else (at,) for d, at in zip(known, held, strict=True)]
    return Allotment(forecast, harm, free)


class Allotment:
    """Shares a budget out. harm: [sites][options], empty for a site that has no say. free: the options of each site
    that may be taken."""

    def __init__(self, forecast: Forecast, harm: Sequence[Sequence[float]], free: Sequence[Sequence[int]]) -> None:
        self._forecast = forecast
        self._harm = harm
        self._free = free
        self._offered = [_thinned(options) for options in free]

    def solve(self, budget_ms: float) -> Choices | None:
        """The choices of least harm found within the budget (ms); None when no plan keeps it."""
        fastest = self.fastest()
        if self._forecast.ms(fastest) > budget_ms:
            return None
        best = fastest
        for start in (fastest, *_starts(self._forecast.sites, self._free)):
            best = min(best, self._around(start, budget_ms) or best, key=self.harm)
        for _ in range(ROUNDS):
            found = self._around(best, budget_ms)
            if found is None or self.harm(found) >= self.harm(best):
                break
            best = found
        return self._relaxed(best, budget_ms)

    def fastest(self) -> Choices:
        """The choices of least predicted latency, by coordinate descent; not always the most compressed ones: narrow
        layers may be slower at few bits."""
        sites = self._forecast.sites
        narrow = [None if site.kind == "bits" else row[-1] for site, row in zip(sites, self._offered, strict=True)]
        starts = _starts(sites, self._free)
        ends = [tuple(o if n is None else n for n, o in zip(narrow, start, strict=True)) for start in starts]
        best = min(ends, key=self._forecast.ms)
        for _ in range(ROUNDS):
            table = self._forecast.around(best, self._offered)
            found = tuple(row[ms.index(min(ms))] for row, ms in zip(self._offered, table, strict=True))
            if self._forecast.ms(found) >= self._forecast.ms(best):
                break
            best = found
        return self._forecast.settled(best)

    def harm(self, choices: Choices) -> float:
        """The total over all sites."""
        return sum(row[o] for row, o in zip(self._harm, choices, strict=True) if row)

    def _around(self, start: Choices, budget_ms: float) -> Choices | None:
        """The least harmful answer within the budget that is found with costs as they are around `start`."""
        table = self._forecast.around(start, self._offered)
        base = self._forecast.ms(start)
        cost = [[ms - base for ms in row] for row in table]
        harm = [self._harms(start, i) for i in range(len(start))]
        best: Choices | None = None
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
                found = self._forecast.settled(tuple(row[o] for row, o in zip(self._offered, picks, strict=True)))
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

    def _harms(self, start: Choices, i: int) -> list[float]:
        """The harm of the options offered at the i-th site. Where a precision goes for other regions too, theirs
        counts with it."""
        row, options = self._harm[i], self._offered[i]
        if not row:
            return [0.0] * len(options)
        if self._forecast.sites.all[i].kind != "bits":
            return [row[o] for o in options]
        return [self.harm(self._forecast.settled((*start[:i], o, *start[i + 1 :]))) for o in options]

    def _relaxed(self, choices: Choices, budget_ms: float) -> Choices:
        """`choices` with what single sites can take back within the budget, the most harm per millisecond first."""
        for _ in range(ROUNDS):
            now, here, before = self._forecast.ms(choices), self.harm(choices), choices
            steps = []
            for i, o in self._gentler(choices):
                gain = self._harm[i][choices[i]] - self._harm[i][o]
                ms = self._forecast.ms((*choices[:i], o, *choices[i + 1 :]))
                if gain > 0 and ms <= budget_ms:
                    steps.append((gain / max(ms - now, 1e-9 * budget_ms), i, o))
            for _, i, o in sorted(steps, reverse=True):
                found = self._forecast.settled((*choices[:i], o, *choices[i + 1 :]))
                if self._forecast.ms(found) <= budget_ms and self.harm(found) < here:
                    choices, here = found, self.harm(found)
            if choices == before:
                break
        return choices

    def _gentler(self, choices: Choices) -> Iterator[tuple[int, int]]:
        """Each site with the option before the one it has."""
        for i, (row, o) in enumerate(zip(self._free, choices, strict=True)):
            if o in row and row.index(o) > 0:
                yield i, row[row.index(o) - 1]


def _thinned(options: Sequence[int]) -> tuple[int, ...]:
    """At most OFFERED of them, evenly spread, the first and the last included."""
    if len(options) <= OFFERED:
        return tuple(options)
    last = len(options) - 1
    return tuple(options[round(i * last / (OFFERED - 1))] for i in range(OFFERED))


def _starts(sites: Sites, free: Sequence[Sequence[int]]) -> Iterator[Choices]:
    """The least compressed choices at every uniform precision."""
    widths = sorted(
        {o for site in sites if site.kind == "bits" for o in site.options if isinstance(o, int)}, reverse=True
    )
    for width in widths or [0]:
        start = []
        for site, row in zip(sites, free, strict=True):
            at = site.options.index(width) if site.kind == "bits" and width in site.options else row[0]
            start.append(at if at in row else row[0])
        yield tuple(start)
