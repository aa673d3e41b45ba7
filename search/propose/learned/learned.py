"""Surrogate-led proposals: plans that a model of accuracy, learned from all trials, expects to add most to the front."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ....spaces.plan import Plan
from ....spaces.space import Space
from ....spaces.surrogates import Surrogates
from ....spaces.target import PerTarget
from .accuracy_model import AccuracyModel, fit_accuracy
from .coding import Coding, Rows
from .evolution import Evolution
from .features import Features
from .improvement import expected, staircase
from .latency_guess import LatencyGuess
from .role_classes import by_weight, role_classes

Vector = NDArray[np.float64]
FEWEST = 6
"""Trained plans before anything is predicted."""
GENERATIONS, CHILDREN = 14, 150
HOPE = 0.3
"""Standard deviations by which evolution takes a plan for better than expected."""
LARGEST_BATCH = 8
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
        self._evolution = Evolution(self._coding, self._classes, seed)
        self._known: dict[int, Known] = {}
        self._queue: deque[Plan] = deque()
        self._pool: Rows = np.array([self._coding.row(plan) for plan in starts]).reshape(len(starts), len(self._coding.variables))
        self._ms: dict[Plan, float] = {}
        self._batches = 0
        self._fruitless: dict[int, Known] | None = None
        self.model: AccuracyModel | None = None

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

    def propose(self, is_new: Callable[[Plan], bool]) -> Plan | None:
        """Return the next plan, None where nothing new promises anything.

        Args:
            is_new: Tells whether a plan may be proposed.
        """
        while True:
            while self._queue:
                if is_new(plan := self._queue.popleft()):
                    return plan
            if self._fruitless == (state := dict(self._known)):
                return None
            self._queue.extend(self._batch(is_new))
            self._fruitless = state

    def _batch(self, is_new: Callable[[Plan], bool]) -> list[Plan]:
        trained = [known for known in self._known.values() if known.trained]
        if len(trained) < FEWEST:
            return []
        self._batches += 1
        rows = np.array([self._coding.row(known.plan) for known in trained])
        cost = np.array([known.cost for known in trained])
        ms = np.array([known.ms for known in trained])
        guess = LatencyGuess(self._space, self._surrogates, self._coding, self._features, rows, ms)
        scale = _Bend.of(np.array([known.cost for known in self._known.values()]))
        self.model = model = fit_accuracy(self._features.of(rows), scale.bent(cost), ms, self._seed + self._batches)
        reference = self._reference(guess.teacher_ms)

        def predict(some: Rows) -> tuple[Vector, Vector]:
            found = guess.ms(some)
            found[found > reference[0]] = np.inf
            mean, std = model.predict(self._features.of(some))
            return found, mean - HOPE * std

        pool = self._evolution.run(np.concatenate([rows, self._pool]), predict, GENERATIONS, CHILDREN)
        self._pool = pool
        plans = [self._coding.plan(row) for row in pool]
        fresh = [i for i, plan in enumerate(plans) if is_new(plan)]
        return self._chosen([plans[i] for i in fresh], pool[fresh], guess, model, scale, reference)

    def _chosen(
        self, plans: Sequence[Plan], rows: Rows, guess: LatencyGuess, model: AccuracyModel, scale: _Bend, reference: tuple[float, float]
    ) -> list[Plan]:
        """Return the plans that together are expected to add most, one after the other."""
        if not len(plans):
            return []
        every_ms = np.array([known.ms for known in self._known.values()])
        every_cost = np.array([known.cost for known in self._known.values()])
        mean, std = model.predict(self._features.of(rows))
        ms, mean_cost = guess.ms(rows), scale.straight(mean)
        std_cost = np.maximum(scale.straight(mean + std) - mean_cost, 1e-12)
        found: list[Plan] = []
        wanted = max(1, min(LARGEST_BATCH, len(self._known) // 8))
        for _ in range(wanted):
            worth = expected(ms, mean_cost, std_cost, staircase(every_ms, every_cost, reference), reference)
            best = int(np.argmax(worth))
            if worth[best] <= 0 or plans[best] in found:
                break
            found.append(plans[best])
            every_ms, every_cost = np.append(every_ms, ms[best]), np.append(every_cost, mean_cost[best])
        return found

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
        worst = float(front.max())
        return most_ms, worst + 0.1 * max(worst - float(front.min()), 1e-9)


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
