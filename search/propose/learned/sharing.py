"""Shared trainings: plans that differ from a trained student in what training does not see, such as bits.

Such a plan takes over what was trained. It costs a file and a measurement, a small part of a training.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np

from ....spaces.plan import Plan
from ....spaces.space import Space
from ..role_classes import RoleClass
from .coding import Coding, Rows

USUAL_PART = 0.1
"""What a shared training costs as a part of one of its own, while that was not seen yet."""
LEAST_PART = 0.02
MOST_SEEN = 20
"""Trials of each sort whose times and gains are kept, the latest ones."""
MOST_OPEN = 12
"""Trainings that plans may share at a time, the latest ones."""
PATIENCE = 2
"""Plans that share a training and gain less than their price, or fail, after which no more of them are tried."""
DRAWN = 24
"""Plans that are drawn at random around a trained one."""
RARELY, OFTEN = 0.15, 0.5
"""How likely each decision is to be drawn anew, in one half of these plans and in the other."""


class _Seen:
    """What the latest trials of a sort took and gained."""

    def __init__(self) -> None:
        self.seconds: deque[float] = deque(maxlen=MOST_SEEN)
        self.gains: deque[float] = deque(maxlen=MOST_SEEN)

    def add(self, seconds: float, gain: float) -> None:
        self.seconds.append(seconds)
        self.gains.append(gain)


class Sharing:
    """Makes plans that share the training of a given one, and knows what they cost."""

    def __init__(self, space: Space, coding: Coding, classes: Sequence[RoleClass], seed: int) -> None:
        """Vary the plans of `space`.

        Args:
            space: The space.
            coding: Of the space.
            classes: Role classes, whose decisions are varied together.
            seed: Of what is drawn.
        """
        self._space, self._coding = space, coding
        unseen = {axis for axis in {v.axis for v in space.network} if self._is_unseen(axis)}
        self._free = [i for i, v in enumerate(space.network) if v.axis in unseen]
        free = set(self._free)
        self._together = [some for c in classes if (some := [i for i in c.places if i in free])]
        self._rng = np.random.default_rng(seed)
        self._own, self._shared = _Seen(), _Seen()
        self._plans: dict[str, list[Plan]] = {}
        self._open: list[str] = []
        self._fruitless: dict[str, int] = {}

    @property
    def price(self) -> float:
        """What a shared training costs as a part of one of its own, by the trials seen so far."""
        if not self._own.seconds or not self._shared.seconds:
            return USUAL_PART
        part = statistics.median(self._shared.seconds) / max(statistics.median(self._own.seconds), 1e-9)
        return min(1.0, max(LEAST_PART, part))

    @property
    def least_gain(self) -> float:
        """What a shared training must add to the front to be worth its price: as much as trainings lately added."""
        return self.price * statistics.fmean(self._own.gains) if self._own.gains else 0.0

    @property
    def open(self) -> Sequence[Plan]:
        """The plans of the latest training that more plans may share; none where there is none."""
        return self._plans[self._open[-1]] if self._open else ()

    def close(self) -> None:
        """Give up the latest training: nothing more that shares it promises anything."""
        self._open.pop()

    def reopen(self) -> None:
        """Let plans share the latest trainings again that were given up because others promised more."""
        tired = {training for training, times in self._fruitless.items() if times >= PATIENCE}
        self._open = [training for training in self._plans if training not in tired][-MOST_OPEN:] if self._free else []

    def note(self, plan: Plan, seconds: float, gain: float) -> None:
        """Note a finished plan that was trained; the first of a training made it.

        Args:
            plan: The plan.
            seconds: What it took.
            gain: What it added to the hypervolume of the front.
        """
        training = self._key(plan)
        if training in self._plans:
            self._shared.add(seconds, gain)
            if gain <= self.least_gain:
                self._tire(training)
        else:
            self._own.add(seconds, gain)
            self._open = [*self._open, training][-MOST_OPEN:] if self._free else []
        self._plans.setdefault(training, []).append(plan)

    def failed(self, plan: Plan) -> None:
        """Note a plan that was to share a training and came to nothing, as its neighbours then may."""
        self._tire(self._key(plan))

    def around(self, plan: Plan) -> list[Plan]:
        """Return plans that share the training of `plan`: uniform ones, ones by role, and random ones."""
        key = self._key(plan)
        row = self._coding.row(plan)
        found = dict.fromkeys(self._coding.plan(other) for other in self._varied(row))
        return [other for other in found if other != plan and self._key(other) == key]

    def _tire(self, training: str) -> None:
        self._fruitless[training] = self._fruitless.get(training, 0) + 1
        if self._fruitless[training] >= PATIENCE and training in self._open:
            self._open.remove(training)

    def _varied(self, row: Rows) -> Iterator[Rows]:
        levels = self._coding.levels
        for places in (self._free, *self._together) if self._free else ():
            for level in range(int(levels[places].max())):
                other = row.copy()
                other[places] = np.minimum(level, levels[places] - 1)
                yield other
        for number in range(DRAWN if self._free else 0):
            other = row.copy()
            drawn = self._rng.random(len(self._free)) < (RARELY if number % 2 else OFTEN)
            for place in np.array(self._free)[drawn]:
                other[place] = self._rng.integers(0, levels[place])
            yield other

    def _is_unseen(self, axis: str) -> bool:
        """Tell whether there is a way to teach that is the same whatever an axis says."""
        variable = next((v for v in self._space.network if v.axis == axis and len(v.drawn) > 1), None)
        if variable is None:
            return False
        ends = [{variable.name: option} for option in (variable.drawn[0], variable.drawn[-1])]
        outside = (v for v in self._space.variables if not v.in_network and v.bounds is None)
        ways = [{}, *({v.name: option} for v in outside for option in v.drawn)]
        return any(len({self._key(self._space.taught.changed({**way, **end})) for end in ends}) == 1 for way in ways)

    def _key(self, plan: Plan) -> str:
        return self._space.spec(plan).training_key()
