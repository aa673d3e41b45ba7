"""Learned proposals: plans that a model of accuracy, fitted to all trials, expects to add most to the front."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ....spaces.plan import Plan
from ....spaces.space import Space
from ....spaces.surrogates import Surrogates
from ....spaces.target import PerTarget
from ...pareto import ranks
from ..role_classes import by_weight, role_classes
from .accuracy_model import AccuracyLearner, AccuracyModel
from .coding import Coding, Rows
from .evolution import Evolution
from .features import Features
from .improvement import expected, staircase
from .latency_guess import LatencyGuess

Vector = NDArray[np.float64]
MOST_LEARNED = 800
"""Plans that a model is fitted to: the time of a fit grows with their cube."""
FEWEST = 6
"""Trained plans before anything is predicted."""
GENERATIONS, CHILDREN = 14, 150
HOPE = 0.3
"""Standard deviations by which evolution takes a plan for better than expected."""
LARGEST_BATCH = 8
MOST_GATES = 4
"""Plans that are measured for one that is trained."""
MOST_SHAPES = 600
"""Measured latencies that predictions are corrected by."""
ELSEWHERE = 3
"""With a budget, one of so many batches is for the whole range up to the teacher."""


@dataclass(frozen=True)
class Known:
    """What became of a plan.

    Attributes:
        plan: The plan.
        cost: Of its metric, lower is better.
        ms: Latency, of the first latency objective.
        trained: Whether it was taught; what was not tells nothing of what a training brings.
    """

    plan: Plan
    cost: float
    ms: float
    trained: bool


class LearnedProposals:
    """Learns from trials and proposes plans, several at a time."""

    def __init__(
        self,
        space: Space,
        surrogates: Surrogates,
        budgets: PerTarget[float],
        seed: int,
        starts: Sequence[Plan] = (),
    ) -> None:
        """Propose plans of `space`.

        Args:
            space: What is searched.
            surrogates: What was known before the first trial.
            budgets: Latency (ms), of the targets that have a budget.
            seed: Of random choices.
            starts: Plans that evolution may begin with, beside those that were tried.
        """
        self._space, self._surrogates, self._budgets, self._seed = space, surrogates, dict(budgets), seed
        self._coding = Coding(space)
        classes = role_classes(space)
        usable = {v.name: row for v in space.network if (row := surrogates.sensitivity.get(v.name)) is not None}
        self._classes = by_weight(space, classes, surrogates.latency_for())
        self._features = Features(self._coding, self._classes, usable)
        self._learner = AccuracyLearner(seed)
        self._evolution = Evolution(self._coding, self._classes, seed)
        self._known: dict[int, Known] = {}
        self._queue: deque[list[Plan]] = deque()
        self._pool: Rows = np.array([self._coding.row(plan) for plan in starts]).reshape(
            len(starts), len(self._coding.variables)
        )
        self._batches = 0
        self._fruitless: dict[int, Known] | None = None
        self.model: AccuracyModel | None = None
        self._gated: list[tuple[Rows, float]] = []
        self._scale: _Bend | None = None
        self._last_reference = (math.inf, math.inf)

    def tell(self, number: int, known: Known) -> None:
        """Learn what a trial is worth; what is told later of it counts instead."""
        self._known[number] = known

    def forget(self, number: int) -> None:
        """Forget a trial."""
        self._known.pop(number, None)

    @property
    def ready(self) -> bool:
        """Whether there is enough to learn from."""
        return sum(known.trained for known in self._known.values()) >= FEWEST

    def propose(self, is_new: Callable[[Plan], bool], gates: int = MOST_GATES) -> list[Plan]:
        """Return plans of which one is to be trained: the latency that is measured of each decides; see `best`.

        Evolution finds the plans whose latency is underrated, and to measure a latency takes a small part of the time
        of a training.

        Args:
            is_new: Tells whether a plan may be proposed.
            gates: How many plans, at most.

        Returns:
            The plans, what promises most first; none where nothing new promises anything.
        """
        while True:
            while self._queue:
                found = [plan for plan in self._queue.popleft() if is_new(plan)][:gates]
                if found:
                    return found
            if self._fruitless == (state := dict(self._known)):
                return []
            self._queue.extend(self._batch(is_new))
            self._fruitless = state

    def best(self, measured: Sequence[tuple[Plan, float]]) -> int:
        """Return the number of the plan to train, by measured latencies (ms)."""
        rows = np.array([self._coding.row(plan) for plan, _ in measured])
        self._gated += [(row, ms) for row, (_, ms) in zip(rows, measured, strict=True)]
        if self.model is None or self._scale is None:
            return 0
        worth = self._worth(rows, np.array([ms for _, ms in measured]), self._known.values(), self._last_reference)
        return int(np.argmax(worth))

    def _worth(self, rows: Rows, ms: Vector, known: Collection[Known], reference: tuple[float, float]) -> Vector:
        """Return the hypervolume that rows [n, variables] of these latencies are expected to add to what is known."""
        assert self.model is not None and self._scale is not None
        mean, std = self.model.predict(self._features.of(rows))
        cost = self._scale.straight(mean)
        spread = np.maximum(self._scale.straight(mean + std) - cost, 1e-12)
        front = staircase(np.array([k.ms for k in known]), np.array([k.cost for k in known]), reference)
        return expected(ms, cost, spread, front, reference)

    def _batch(self, is_new: Callable[[Plan], bool]) -> list[list[Plan]]:
        trained = _kept([known for known in self._known.values() if known.trained])
        if len(trained) < FEWEST:
            return []
        self._batches += 1
        rows = np.array([self._coding.row(known.plan) for known in trained])
        cost = np.array([known.cost for known in trained])
        ms = np.array([known.ms for known in trained])
        shapes = [*zip(rows, ms, strict=True), *self._gated[-MOST_SHAPES:]]
        guess = LatencyGuess(
            self._space,
            self._surrogates,
            self._coding,
            self._features,
            np.array([row for row, _ in shapes]),
            np.array([each for _, each in shapes]),
        )
        self._scale = _Bend.of(np.array([known.cost for known in self._known.values()]))
        features = self._features.of(rows)
        self.model = model = self._learner.fit(features, self._scale.bent(cost), ms)
        self._last_reference = reference = self._reference(guess.teacher_ms)

        def predict(some: Rows) -> tuple[Vector, Vector]:
            found = guess.ms(some)
            found[found > reference[0]] = np.inf
            mean, std = model.predict(self._features.of(some))
            return found, mean - HOPE * std

        pool = self._evolution.run(np.concatenate([rows, self._pool]), predict, GENERATIONS, CHILDREN)
        self._pool = pool
        plans = [self._coding.plan(row) for row in pool]
        fresh = [i for i, plan in enumerate(plans) if is_new(plan)]
        return self._chosen([plans[i] for i in fresh], pool[fresh], guess.ms(pool[fresh]), reference)

    def _chosen(
        self, plans: Sequence[Plan], rows: Rows, ms: Vector, reference: tuple[float, float]
    ) -> list[list[Plan]]:
        """Return the plans that together are expected to add most, dealt out to as many trials as a batch has."""
        wanted = max(1, min(LARGEST_BATCH, len(self._known) // 8))
        known = list(self._known.values())
        found: list[int] = []
        while len(found) < min(MOST_GATES * wanted, len(plans)):
            worth = self._worth(rows, ms, known, reference)
            worth[found] = -1.0
            best = int(np.argmax(worth))
            if worth[best] <= 0:
                break
            found.append(best)
            mean, _ = self.model.predict(self._features.of(rows[[best]]))  # type: ignore[union-attr]
            known.append(Known(plans[best], float(self._scale.straight(mean)[0]), float(ms[best]), True))  # type: ignore[union-attr]
        return [[plans[i] for i in found[first::wanted]] for first in range(min(wanted, len(found)))]

    def _reference(self, teacher_ms: float) -> tuple[float, float]:
        """Return the latency and the cost beyond which a plan is of no interest."""
        ms = np.array([known.ms for known in self._known.values()])
        cost = np.array([known.cost for known in self._known.values()])
        most_ms = max(teacher_ms, float(ms.max()) if not teacher_ms else 0.0)
        limit = min(self._budgets.values(), default=None)
        if limit is not None and self._batches % ELSEWHERE:
            most_ms = min(most_ms, limit)
        front = staircase(ms, cost, (most_ms * (1 + 1e-9), np.inf))[1]
        if not len(front):
            return most_ms, float(cost.max())
        best = float(front.min())
        worst = float(front.max())
        return most_ms, worst + 0.1 * max(worst - best, 1e-9)


def _kept(trained: Sequence[Known]) -> Sequence[Known]:
    """Return what a model is fitted to: of very many plans the latest, and the best of the others."""
    if len(trained) <= MOST_LEARNED:
        return trained
    latest, earlier = trained[-MOST_LEARNED // 2 :], trained[: -MOST_LEARNED // 2]
    rank = ranks([(known.ms, known.cost) for known in earlier])
    best = sorted(range(len(earlier)), key=lambda i: rank[i])[: MOST_LEARNED - len(latest)]
    return [*(earlier[i] for i in sorted(best)), *latest]


@dataclass(frozen=True)
class _Bend:
    """Bends costs so that the differences among good plans count, and those among bad ones less.

    Attributes:
        best: The least cost.
        unit: Above it, costs are told apart by their logarithm rather than by their difference.
    """

    best: float
    unit: float

    @classmethod
    def of(cls, cost: Vector) -> _Bend:
        best = float(cost.min())
        return cls(best, max(float(np.median(cost)) - best, 1e-9))

    def bent(self, cost: Vector) -> Vector:
        return np.log1p(np.maximum(cost - self.best, 0.0) / self.unit)

    def straight(self, bent: Vector) -> Vector:
        return self.best + self.unit * np.expm1(bent)
