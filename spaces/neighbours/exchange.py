"""Exchanges: one variable takes compression back and others pay for it, at about the same latency."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from ..allocate.forecast import Forecast
from ..plan import Plan
from ..space import Indices, Space
from ..surrogates import Surrogates

TOLERANCE = 0.02
"""The new plan may be predicted slower by this part."""
CANDIDATES = 8
"""Variables that are asked what they would gain or pay, drawn from all."""
PAYERS = 9
"""At most this many variables pay; the later ones take longer steps."""
ATTEMPTS = 3
"""Exchanges tried before there is none."""


@dataclass(frozen=True)
class Exchange:
    """Draws exchanges within a space, by what is known of sensitivity and latency."""

    space: Space
    surrogates: Surrogates

    def swap(self, plan: Plan, random_: random.Random) -> Plan:
        """Return a legal plan where one variable is compressed less and at least one other more.

        The plan is predicted at most TOLERANCE slower. Variables that gain much for the milliseconds they cost, and
        those that pay with little harm, are likelier; nothing is certain.

        Returns:
            The plan; `plan` itself where none was found.
        """
        surrogate = self.surrogates.latency_for(self.space.spec(plan).target)
        if surrogate is None or len(self.space.network) < 2:
            return plan
        forecast = Forecast(self.space, surrogate, plan)
        start = self.space.indices(plan)
        limit = forecast.ms(start) * (1 + TOLERANCE)
        for _ in range(ATTEMPTS):
            found = self._paid(forecast, start, limit, random_)
            if found is not None:
                return self.space.assemble(found, plan)
        return plan

    def _paid(self, forecast: Forecast, start: Indices, limit: float, random_: random.Random) -> Indices | None:
        relaxed = self._step(forecast, start, -1, frozenset(), random_)
        if relaxed is None:
            return None
        at, indices = relaxed
        moved = {at}
        for _ in range(PAYERS):
            paid = self._step(forecast, indices, 1, frozenset(moved), random_)
            if paid is None:
                return None
            at, indices = paid
            moved.add(at)
            repaired = forecast.repaired(indices)
            if forecast.ms(repaired) <= limit:
                changed = sum(a != b for a, b in zip(start, repaired, strict=True))
                return repaired if changed > 1 else None
        return None

    def _step(
        self, forecast: Forecast, indices: Indices, way: int, done: frozenset[int], random_: random.Random
    ) -> tuple[int, Indices] | None:
        """Return one variable's step towards less (-1) or more (1) compression, and the design after it."""
        network = self.space.network
        can = [i for i, v in enumerate(network) if i not in done and 0 <= indices[i] + way < len(v.options)]
        now = forecast.ms(indices)
        rates: list[float] = []
        steps: list[tuple[int, Indices]] = []
        for i in random_.sample(can, min(CANDIDATES, len(can))):
            last = len(network[i].options) - 1
            far = random_.choice((1, 1, 2, 3)) * (1 + len(done) // 3) if last > 2 else 1
            option = min(last, max(0, indices[i] + way * far))
            found = (*indices[:i], option, *indices[i + 1 :])
            ms = way * (now - forecast.ms(found))
            if ms > 0:  # else it neither costs nor saves time
                steps.append((i, found))
                rates.append(max(0.0, way * self._more_harm(i, indices[i], option)) / ms)
        return random_.choices(steps, _odds(rates, way))[0] if steps else None

    def _more_harm(self, i: int, before: int, after: int) -> float:
        row = self.surrogates.sensitivity.get(self.space.network[i].name)
        return row[after] - row[before] if row else 0.0


def _odds(rates: Sequence[float], way: int) -> list[float]:
    """Return weights by harm per millisecond: more of it is likelier to be taken back (-1), less to be paid (1)."""
    floor = 0.1 * sum(rates) / len(rates) if any(rates) else 1.0
    return [(rate + floor) ** (-0.5 * way) for rate in rates]
