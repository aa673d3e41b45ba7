"""Exchanges: one site takes compression back and others pay for it, at about the same latency."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from ..allocate.forecast import Choices, Forecast, guess_for
from ..plan import Plan
from ..sites import Sites
from ..surrogates import Guide

TOLERANCE = 0.02
"""The new plan may be predicted slower by this part."""
CANDIDATES = 8
"""Sites that are asked what they would gain or pay, drawn from all."""
PAYERS = 9
"""At most this many sites pay; the later ones take longer steps."""
ATTEMPTS = 3
"""Exchanges tried before there is none."""


@dataclass(frozen=True)
class Exchange:
    """Draws exchanges within a space, by what a guide knows of damage and latency."""

    sites: Sites
    guide: Guide

    def swap(self, plan: Plan, random_: random.Random) -> Plan:
        """A legal plan where one site is compressed less and at least one other more, predicted at most TOLERANCE
        slower; `plan` itself where none was found. Sites that gain much for the milliseconds they cost, and those
        that pay with little damage, are likelier; nothing is certain."""
        guess = guess_for(self.guide, plan.target)
        if guess is None or len(self.sites) < 2:
            return plan
        forecast = Forecast(self.sites, guess, plan)
        start = self.sites.choices(plan)
        limit = forecast.ms(start) * (1 + TOLERANCE)
        for _ in range(ATTEMPTS):
            found = self._paid(forecast, start, limit, random_)
            if found is not None:
                return self.sites.assemble(found, plan)
        return plan

    def _paid(self, forecast: Forecast, start: Choices, limit: float, random_: random.Random) -> Choices | None:
        relaxed = self._step(forecast, start, -1, frozenset(), random_)
        if relaxed is None:
            return None
        at, choices = relaxed
        moved = {at}
        for _ in range(PAYERS):
            paid = self._step(forecast, choices, 1, frozenset(moved), random_)
            if paid is None:
                return None
            at, choices = paid
            moved.add(at)
            settled = forecast.settled(choices)
            if forecast.ms(settled) <= limit:
                changed = sum(a != b for a, b in zip(start, settled, strict=True))
                return settled if changed > 1 else None
        return None

    def _step(
        self, forecast: Forecast, choices: Choices, way: int, done: frozenset[int], random_: random.Random
    ) -> tuple[int, Choices] | None:
        """One site's step towards less (-1) or more (1) compression, as that site and the choices after it."""
        can = [i for i, site in enumerate(self.sites) if i not in done and 0 <= choices[i] + way < len(site.options)]
        now = forecast.ms(choices)
        rates: list[float] = []
        steps: list[tuple[int, Choices]] = []
        for i in random_.sample(can, min(CANDIDATES, len(can))):
            last = len(self.sites.all[i].options) - 1
            far = random_.choice((1, 1, 2, 3)) * (1 + len(done) // 3) if last > 2 else 1
            option = min(last, max(0, choices[i] + way * far))
            found = (*choices[:i], option, *choices[i + 1 :])
            ms = way * (now - forecast.ms(found))
            if ms > 0:  # else it neither costs nor saves time
                steps.append((i, found))
                rates.append(max(0.0, way * self._more_damage(i, choices[i], option)) / ms)
        return random_.choices(steps, _odds(rates, way))[0] if steps else None

    def _more_damage(self, i: int, before: int, after: int) -> float:
        row = self.guide.damage.get(self.sites.all[i].name)
        return row[after] - row[before] if row else 0.0


def _odds(rates: Sequence[float], way: int) -> list[float]:
    """Weights by damage per millisecond: more of it is likelier to be taken back (-1), less of it to be paid (1)."""
    floor = 0.1 * sum(rates) / len(rates) if any(rates) else 1.0
    return [(rate + floor) ** (-0.5 * way) for rate in rates]
