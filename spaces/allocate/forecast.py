"""Forecasts: the predicted latency of choices at sites, asked for once each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..plan import Plan
from ..sites import Sites
from ..surrogates import Guide, LatencyGuess

Choices = tuple[int, ...]
KNOTS = 4
"""Options of a long row that are asked for."""
MANY = 200_000
"""Forecasts kept; then all are forgotten."""


@dataclass(frozen=True)
class Slowest:
    """The guess for one file that several targets must run: that of the target where the plan takes the largest part
    of the teacher's latency, told in milliseconds of the first target. teacher_ms: by target."""

    guesses: Mapping[str, LatencyGuess]
    teacher_ms: Mapping[str, float]

    @property
    def relative_error(self) -> float:
        """That of the worst."""
        return max(guess.relative_error for guess in self.guesses.values())

    def predict_ms(self, plan: Plan) -> float:
        """Milliseconds on the first target, or what is as much of the teacher's latency there."""
        part = max(guess.predict_ms(plan) / self.teacher_ms[name] for name, guess in self.guesses.items())
        return part * next(iter(self.teacher_ms.values()))


def guess_for(guide: Guide, target: str = "") -> LatencyGuess | None:
    """What the guide predicts latency with: for this target, or for all that it knows where none is named; None where
    it knows none."""
    if target:
        return guide.latency.get(target)
    if len(guide.latency) < 2:
        return next(iter(guide.latency.values()), None)
    return Slowest(guide.latency, {name: guess.predict_ms(Plan()) for name, guess in guide.latency.items()})


class Forecast:
    """Predicted latencies (ms) for plans like one plan, which gives their target."""

    def __init__(self, sites: Sites, guess: LatencyGuess, like: Plan) -> None:
        self.sites = sites
        self._guess = guess
        self._like = like
        self._known: dict[Choices, float] = {}

    def ms(self, choices: Choices) -> float:
        """Of the plan with these choices."""
        if choices not in self._known:
            if len(self._known) >= MANY:
                self._known.clear()
            self._known[choices] = self._guess.predict_ms(self.sites.assemble(choices, self._like))
        return self._known[choices]

    def settled(self, choices: Choices) -> Choices:
        """The choices of the legal plan that these stand for."""
        return self.sites.choices(self.sites.assemble(choices, self._like))

    def around(self, choices: Choices, offered: Sequence[Sequence[int]]) -> list[list[float]]:
        """[sites][offered options]: the latency when that site alone takes that option. Of long rows a few options
        are asked for, and those between lie on straight lines."""
        return [self._row(choices, i, options) for i, options in enumerate(offered)]

    def _row(self, choices: Choices, i: int, options: Sequence[int]) -> list[float]:
        last = len(options) - 1
        asked = sorted({round(k * last / (KNOTS - 1)) for k in range(KNOTS)})
        if last < KNOTS or self.sites.all[i].kind != "channels":
            asked = list(range(last + 1))
        found = [self.ms((*choices[:i], options[at], *choices[i + 1 :])) for at in asked]
        row = [float(x) for x in np.interp(options, [options[at] for at in asked], found)]
        if choices[i] in options:
            row[options.index(choices[i])] = self.ms(choices)
        return row
