"""Learned proposals: plans that a model of accuracy, fitted to all trials, expects to add most to the front."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ....spaces.plan import Plan
from ....spaces.space import Space
from ....spaces.surrogates import Surrogates
from ..role_classes import by_weight, role_classes
from .accuracy_model import AccuracyLearner, AccuracyModel
from .coding import Coding, Rows
from .cost_scale import CostScale
from .evolution import Evolution
from .expectation import Expectation
from .features import Features
from .guide import guide_fits
from .known import Known, of_interest, to_learn_from
from .latency_guess import LatencyGuess
from .sharing import Sharing

Vector = NDArray[np.float64]
IsNew = Callable[[Plan], bool]
"""Tells whether a plan may be proposed."""
FEWEST = 6
"""Trained plans before anything is predicted."""
GENERATIONS, CHILDREN = 14, 150
HOPE = 0.3
"""Standard deviations by which evolution takes a plan for better than expected."""
LARGEST_BATCH = 8
"""Trials that are planned at a time where no more are running."""
PARTS_OF_RUNNING = 4
"""So many batches, at most, plan as many trials as are running."""
MOST_GATES = 4
"""Plans that are measured for one that is trained."""
MOST_SHAPES = 600
"""Measured latencies that predictions are corrected by."""
MOST_PREDICTED = 20_000
"""Predictions that are kept from batch to batch."""
SURER = 0.5
"""How unsure the metric of a plan that shares a training is, as a part of how unsure one is of another student's."""
ELSEWHERE = 3
"""With a budget or a least metric, one of so many batches is for the whole range up to the teacher."""


class LearnedProposals:
    """Learns from trials and proposes plans, several at a time.

    It looks at the metric and at the first latency objective, or at sizes where there is none. Other objectives it
    leaves to other proposals.

    Attributes:
        model: The model of accuracy that was fitted last.
    """

    def __init__(
        self,
        space: Space,
        surrogates: Surrogates,
        limit_ms: float | None,
        seed: int,
        starts: Sequence[Plan] = (),
        min_accuracy: float | None = None,
    ) -> None:
        """Propose plans of `space`.

        Args:
            space: What is searched.
            surrogates: What was known before the first trial.
            limit_ms: Largest latency that is allowed, in milliseconds of the first target; None for any.
            seed: Of random choices.
            starts: Plans that evolution may begin with, beside those that were tried.
            min_accuracy: Least metric that is allowed, higher is better; None for any.
        """
        self._space, self._surrogates, self._limit_ms = space, surrogates, limit_ms
        self._floor = None if min_accuracy is None else -min_accuracy
        self._coding = Coding(space)
        classes = by_weight(space, role_classes(space), surrogates.latency_for())
        self._features = Features(self._coding, classes, surrogates.sensitivity)
        self._learner = AccuracyLearner(seed)
        self._evolution = Evolution(self._coding, classes, seed)
        self._known: dict[int, Known] = {}
        self._shapes: dict[Plan, float] = {}
        self._predicted: dict[tuple[str, str], float] = {}
        self._pending: dict[Plan, Known] = {}
        self._elsewhere: set[Plan] = set()
        self._queue: deque[list[Known]] = deque()
        self._pool = self._rows(starts)
        self._first: dict[Plan, Plan] = {}
        self._batches = 0
        self._fruitless: dict[int, Known] | None = None
        self._expectation: Expectation | None = None
        self._guess: LatencyGuess | None = None
        self._sharing = Sharing(space, self._coding, classes, seed)
        self._promised, self._is_late = 0.0, False
        self.model: AccuracyModel | None = None

    def tell(self, number: int, known: Known) -> None:
        """Learn what a trial is worth; what is told later of it counts instead."""
        self._known[number] = known
        self._pending.pop(known.plan, None)

    def forget(self, number: int, plan: Plan | None) -> None:
        """Forget what was told of a trial, and its plan where that ended without a result."""
        self._known.pop(number, None)
        if plan is not None:
            self._pending.pop(plan, None)

    def others_try(self, plans: Sequence[Plan]) -> None:
        """Count with what other drivers try now, as soon as its worth can be predicted; what came of it is told."""
        for plan in self._elsewhere.difference(plans):
            self._pending.pop(plan, None)
        self._elsewhere = set(plans)
        new = [plan for plan in plans if plan not in self._pending]
        if new and self._guess is not None and self._expectation is not None:
            ms = self._guess.ms(new, self._rows(new))
            self._pending |= {p: self._expected(p, float(m)) for p, m in zip(new, ms, strict=True)}

    def measured(self, plan: Plan, ms: float) -> None:
        """Learn the measured latency (ms) of a plan."""
        self._shapes[plan] = ms

    def gained(self, plan: Plan, seconds: float, gain: float) -> None:
        """Learn what a trained plan took (s), and what hypervolume it added to the front."""
        self._sharing.note(plan, seconds, gain)

    def failed(self, plan: Plan) -> None:
        """Learn that a plan which was to share a training came to nothing."""
        self._sharing.failed(plan)

    @property
    def ready(self) -> bool:
        """Whether there is enough to learn from."""
        return sum(known.trained for known in self._known.values()) >= FEWEST

    @property
    def guide_fits(self) -> bool:
        """Whether what single changes do before any training orders what was trained; True while little is known."""
        return guide_fits(self._space, self._surrogates, [k for k in self._known.values() if k.trained])

    def propose(self, is_new: IsNew) -> list[Plan]:
        """Return plans of which one is to be trained: the latency that is measured of each decides; see `best`.

        Evolution finds the plans whose latency is underrated, and to measure a latency takes a small part of the time
        of a training.

        Args:
            is_new: Tells whether a plan may be proposed.

        Returns:
            The plans, what promises most first; none where nothing new promises anything.
        """
        if not self.ready:
            return []
        while True:
            while self._queue:
                found = [known for known in self._queue.popleft() if is_new(known.plan)]
                if found:
                    self._pending[found[0].plan] = found[0]
                    self._first |= {known.plan: found[0].plan for known in found}
                    return [known.plan for known in found]
            if self._fruitless == self._known:
                return []
            self._queue.extend(self._batch(is_new))
            if not self._queue:
                self._fruitless = dict(self._known)

    def share(self, is_new: IsNew, late: bool = False) -> Plan | None:
        """Return a plan that promises more for its price than a training does, since it shares one that was done.

        Args:
            is_new: Tells whether a plan may be proposed.
            late: Whether there is no time for a training: whatever promises anything is worth it then.

        Returns:
            The plan; None where nothing is worth it now.
        """
        if late and not self._is_late:
            self._sharing.reopen()
        if late and self._expectation is None and self.ready:
            self._queue.extend(self._batch(is_new))  # this run has fitted no model yet
        self._is_late = late
        while self._expectation is not None and self._guess is not None and (tried := self._sharing.open):
            if plans := [plan for plan in self._sharing.around(tried[0]) if is_new(plan)]:
                rows, told = self._rows(plans), [known for known in self._known.values() if known.plan in tried]
                ms, off = (
                    self._guess.ms(plans, rows),
                    self._expectation.off(rows, self._rows([k.plan for k in told]), told),
                )
                worth = self._expectation.worth(
                    ms, self._expectation.costs(rows, off, SURER), [*self._known.values(), *self._pending.values()]
                )
                worth = np.where(ms <= (math.inf if self._limit_ms is None else self._limit_ms), worth, 0.0)
                best = int(np.argmax(worth))
                least = 0.0 if late else max(self._sharing.least_gain, self._sharing.price * self._promised)
                if worth[best] > least:
                    self._pending[plans[best]] = self._expected(plans[best], float(ms[best]))
                    return plans[best]
            self._sharing.close()
        return None

    def best(self, measured: Sequence[tuple[Plan, float]]) -> int:
        """Return the number of the plan to train, by measured latencies (ms)."""
        if self._expectation is None:
            return 0
        plans, ms = [plan for plan, _ in measured], np.array([ms for _, ms in measured])
        asked = {self._first.get(plan, plan) for plan in plans}
        others = [known for plan, known in self._pending.items() if plan not in asked]
        worth = self._expectation.worth(
            ms, self._expectation.costs(self._rows(plans)), [*self._known.values(), *others]
        )
        best = int(np.argmax(worth))
        for plan in plans:
            self._pending.pop(self._first.pop(plan, plan), None)
        self._pending[plans[best]] = self._expected(plans[best], float(ms[best]))
        return best

    def _batch(self, is_new: IsNew) -> list[list[Known]]:
        """Return the next plans, those that one trial measures together."""
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1):  # other threads would disturb what is measured meanwhile, and gain next to nothing
            return self._next(is_new)

    def _next(self, is_new: IsNew) -> list[list[Known]]:
        trained = to_learn_from([known for known in self._known.values() if known.trained])
        rows = self._rows([known.plan for known in trained])
        cost, ms = np.array([known.cost for known in trained]), np.array([known.paid for known in trained])
        scale = CostScale.of(np.array([known.cost for known in self._known.values()]))
        self.model = model = self._learner.fit(self._features.of(rows), scale.bent(cost), ms)
        told = {known.plan: known.paid for known in self._known.values()}
        shapes = list((self._shapes | told).items())[-MOST_SHAPES:]
        if len(self._predicted) > MOST_PREDICTED:
            self._predicted.clear()
        self._guess = guess = LatencyGuess(
            self._space, self._surrogates, self._coding, self._features, shapes, self._predicted
        )
        teacher_ms = float(guess.ms([self._space.repair(Plan())], self._rows([Plan()]))[0])
        self._batches += 1
        elsewhere = self._limit_ms is self._floor is None or self._batches % ELSEWHERE == 0
        for whole in (elsewhere, True) if not elsewhere else (True,):
            limits = (None, None) if whole else (self._limit_ms, self._floor)
            worst = of_interest(self._known.values(), teacher_ms, *limits)
            self._expectation = Expectation(model, scale, self._features, worst)
            predict = partial(self._hoped, self._expectation, guess)
            self._pool = self._evolution.run(np.concatenate([rows, self._pool]), predict, GENERATIONS, CHILDREN)
            plans = [p for p in dict.fromkeys(self._coding.plan(row) for row in self._pool) if is_new(p)]
            if found := self._chosen(self._expectation, plans, guess.ms(plans, self._rows(plans))):
                return found
        return []

    def _hoped(self, expectation: Expectation, guess: LatencyGuess, rows: Rows) -> tuple[Vector, Vector]:
        """Return latency and hoped cost [n] of rows, as evolution compares them."""
        ms = guess.ms([self._coding.plan(row) for row in rows], rows)
        mean, std = expectation.model.predict(self._features.of(rows))
        return np.where(ms > expectation.reference[0], np.inf, ms), mean - HOPE * std

    def _chosen(self, expectation: Expectation, plans: Sequence[Plan], ms: Vector) -> list[list[Known]]:
        """Return the plans that together are expected to add most, dealt out to as many trials as a batch has."""
        if not plans:
            return []
        # many workers: a model fitted anew for each of their trials would keep them waiting for it
        runs = len(self._pending.keys() - self._elsewhere)
        wanted = max(1, runs // PARTS_OF_RUNNING, min(max(LARGEST_BATCH, runs), len(self._known) // 8))
        known, rows = [*self._known.values(), *self._pending.values()], self._rows(plans)
        costs, expected = expectation.costs(rows), expectation.cost(rows)
        found: list[int] = []
        while len(found) < min(MOST_GATES * wanted, len(plans)):
            worth = expectation.worth(ms, costs, known)
            worth[found] = -1.0
            best = int(np.argmax(worth))
            if not worth[best] > 0:
                break
            if not found:
                self._promised = float(worth[best])
            found.append(best)
            known.append(Known(plans[best], float(expected[best]), float(ms[best]), True))
        chosen = known[len(known) - len(found) :]
        return [chosen[first::wanted] for first in range(min(wanted, len(found)))]

    def _expected(self, plan: Plan, ms: float) -> Known:
        assert self._expectation is not None
        return Known(plan, float(self._expectation.cost(self._rows([plan]))[0]), ms, True)

    def _rows(self, plans: Sequence[Plan]) -> Rows:
        rows = np.array([self._coding.row(plan) for plan in plans])
        return rows.reshape(len(plans), len(self._coding.variables))
