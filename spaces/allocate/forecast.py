"""Forecasts: the predicted latency of designs, asked for once each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..plan import Plan
from ..space import Indices, Space
from ..surrogates import LatencySurrogate
from ..variables import Variable

KNOTS = 4
"""Options of a long row that are asked for."""
MANY = 200_000
"""Forecasts kept; then all are forgotten."""


class Forecast:
    """Predicts latencies (ms) of designs, whose other decisions are those of one plan."""

    def __init__(self, space: Space, surrogate: LatencySurrogate, like: Plan) -> None:
        """Predict with `surrogate` for plans that decide as `like` about everything outside the network."""
        self.space = space
        self._surrogate = surrogate
        self._like = like
        self._known: dict[Indices, float] = {}

    def ms(self, indices: Indices) -> float:
        """Return the predicted latency (ms) of a design."""
        if indices not in self._known:
            if len(self._known) >= MANY:
                self._known.clear()
            spec = self.space.spec(self.space.assemble(indices, self._like))
            self._known[indices] = self._surrogate.predict_ms(spec)
        return self._known[indices]

    def repaired(self, indices: Indices) -> Indices:
        """Return the design of the legal plan that `indices` stand for."""
        return self.space.indices(self.space.assemble(indices, self._like))

    def around(self, indices: Indices, offered: Sequence[Sequence[int]]) -> list[list[float]]:
        """Return the latency (ms) when one variable alone takes another option: [variables][offered options].

        Of long rows a few options are asked for, and those between lie on straight lines.
        """
        return [self._row(indices, i, options) for i, options in enumerate(offered)]

    def _row(self, indices: Indices, i: int, options: Sequence[int]) -> list[float]:
        last = len(options) - 1
        asked = sorted({round(k * last / (KNOTS - 1)) for k in range(KNOTS)})
        if last < KNOTS or not _is_smooth(self.space.network[i]):
            asked = list(range(last + 1))
        found = [self.ms((*indices[:i], options[at], *indices[i + 1 :])) for at in asked]
        row = [float(x) for x in np.interp(options, [options[at] for at in asked], found)]
        if indices[i] in options:
            row[options.index(indices[i])] = self.ms(indices)
        return row


def _is_smooth(variable: Variable) -> bool:
    """Tell whether latency changes little from one option to the next: a row of sizes, all of one sort."""
    return variable.kind == "ordered" and len(set(variable.families)) == 1
