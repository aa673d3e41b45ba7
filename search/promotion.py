"""Which students go on training: asynchronous successive halving with several objectives.

Students wait at their rung, with their checkpoint. Whenever there is room, one that stands among the best 1/eta of
those at its rung goes on to the next (Li et al. 2020, arXiv:1810.05934). "Best" is by non-dominated rank, and within a
rank the one in the widest gap between those already taken comes first (Schmucker et al. 2021, arXiv:2106.12639). No
student is thrown away: one that waits can still go on when others fall behind.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import islice
from statistics import median, quantiles

import numpy as np
from numpy.typing import NDArray

from .feasibility import Limits
from .objectives import is_latency, is_maximized, latency_of, objective_costs
from .trial import Trial, TrialState

LATENCY_TIE = 0.02
"""Latencies closer than this are not told apart."""
BLOCK = 256
"""Students that are compared with all others at a time."""


@dataclass(frozen=True)
class Promotion:
    """How students go from rung to rung.

    Attributes:
        limits: What the study asks of a model.
        objectives: See `objectives`.
        rungs: Fractions of a full recovery, the last 1.
        examples: Validation examples looked at after a rung.
        look_examples: Those looked at before any training.
        eta: One of so many goes on from a rung; 1 lets everyone go on.
        first_looks: Whether a look before any training may decide who is trained.
    """

    limits: Limits
    objectives: tuple[str, ...]
    rungs: tuple[float, ...]
    examples: int
    look_examples: int
    eta: int = 2
    first_looks: bool = True

    @property
    def halves(self) -> bool:
        """Whether students wait at rungs.

        What is known at the end only (a compressed size) cannot be compared before: then nobody waits.
        """
        known = all(o in ("accuracy", "size_bytes") or is_latency(o) for o in self.objectives)
        return self.eta > 1 and "accuracy" in self.objectives and known

    def examples_at(self, level: int) -> int:
        """Return the number of examples behind a metric after `level` rungs."""
        return self.examples if level else self.look_examples

    def standing(self, trial: Trial, level: int) -> Standing:
        """Return where a trial stands after `level` rungs, 0 being the look before training."""
        cost = self.other_costs(trial)
        if level == 0:
            assert trial.first_look is not None
            return Standing(trial.number, trial.first_look, cost, weight=self.limits.interest(trial.gate))
        rise = trial.rungs[level - 1] - trial.rungs[level - 2] if level > 1 else None
        interest = self.limits.interest(trial.gate, trial.rungs[level - 1])
        return Standing(trial.number, trial.rungs[level - 1], cost, rise, interest)

    def other_costs(self, trial: Trial) -> tuple[float, ...]:
        """Return a trial's objectives besides its metric, as its gate measured them; lower is better."""
        return tuple(
            float(trial.gate_bytes) if o == "size_bytes" else latency_of(o, trial.gate).p50_ms
            for o in self.objectives
            if o == "size_bytes" or is_latency(o)
        )

    def costs(self, trial: Trial, ended: Sequence[Trial]) -> list[float] | None:
        """Return a trial's objectives, lower is better; None while they are not known.

        A trial that waits or was stopped has the metric so far, with what most of those that went on have gained from
        there on.

        Args:
            trial: The trial.
            ended: All that ended.
        """
        if trial.measured:
            return objective_costs(self.objectives, trial.measured)
        known = all(o == "accuracy" or is_latency(o) for o in self.objectives)
        if trial.state is TrialState.FAILED or not trial.rungs or not known:
            return None
        at = len(trial.rungs) - 1
        gains = [t.rungs[-1] - t.rungs[at] for t in ended if len(t.rungs) == len(self.rungs)]
        gain = max(0.0, quantiles(gains, n=4)[0]) if len(gains) > 3 else 0.0
        hoped = trial.rungs[-1] + gain
        accuracy = min(1.0, hoped) if trial.rungs[-1] <= 1 else hoped
        sign = -1.0 if is_maximized("accuracy") else 1.0
        return [sign * accuracy if o == "accuracy" else latency_of(o, trial.gate).p50_ms for o in self.objectives]


@dataclass(frozen=True)
class Standing:
    """Where a student stands at a rung.

    Attributes:
        number: Of its trial.
        accuracy: Its metric.
        cost: Its objectives besides accuracy, lower is better.
        rise: What its metric gained since the rung before, None at the first.
        weight: Of the gap around it, larger where the user looks.
    """

    number: int
    accuracy: float
    cost: tuple[float, ...]
    rise: float | None = None
    weight: float = 1.0


def best_of_rung(
    standings: Sequence[Standing], gone_on: AbstractSet[int], fixed: AbstractSet[int], eta: int, examples: int
) -> int | None:
    """Return the number of the student that should go on from this rung; None while none should.

    Args:
        standings: All that reached the rung.
        gone_on: Numbers of those that went on already.
        fixed: Numbers of those that go on whatever happens. Others are compared with them; they do not count towards
            the part that goes on.
        eta: One of so many goes on.
        examples: Number of examples behind a metric.
    """
    room = (len(standings) - len(fixed)) // eta
    known = order(standings, gone_on | fixed, examples) if room else iter(())
    best = islice((n for n in known if n not in fixed), room)
    return next((n for n in best if n not in gone_on), None)


def order(standings: Sequence[Standing], gone_on: AbstractSet[int], examples: int) -> Iterator[int]:
    """Yield numbers, best first; what is not asked for is not worked out.

    They are ordered by non-dominated rank beyond chance; within a rank those that went on already come first, then
    always the one in the widest gap.
    """
    if not standings:
        return
    hoped = _hoped(standings)
    cost = np.array([s.cost for s in standings], float).reshape(len(standings), -1)
    for front in _fronts(hoped, cost, examples):
        yield from _by_gaps([standings[i] for i in front], hoped[front], gone_on)


def lead(a: float, b: float, examples: int) -> float:
    """Return the difference of two metrics that is more than chance.

    It is two standard errors of the difference of two shares of `examples`. A pair is scored on the same examples, so
    this is on the safe side. Metrics outside 0 to 1 need a lead of 1 % of their size.
    """
    if not (0 <= a <= 1 and 0 <= b <= 1):
        return 0.01 * max(abs(a), abs(b))
    return 2 * math.sqrt((a * (1 - a) + b * (1 - b)) / max(1, examples))


def _fronts(accuracy: NDArray[np.float64], cost: NDArray[np.float64], examples: int) -> Iterator[NDArray[np.int64]]:
    """Yield the places of those that nobody beats, then of those that nobody of the others beats, and so on."""
    left = np.arange(len(accuracy))
    while len(left):
        strongest = _strongest if cost.shape[1] == 1 else _strongest_of_many
        beaten = _leads(accuracy[left], strongest(accuracy[left], cost[left]), examples)
        yield left[~beaten]
        left = left[beaten]


def _strongest(accuracy: NDArray[np.float64], cost: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return, for each, the best accuracy of those that cost no more.

    Who is beaten by anybody is beaten by the most accurate: the lead that is needed grows more slowly than the
    difference; see `lead`.
    """
    by_cost = np.argsort(cost[:, 0], kind="stable")
    best = np.maximum.accumulate(accuracy[by_cost])
    last = np.searchsorted(cost[by_cost, 0], cost[:, 0] * (1 + LATENCY_TIE), side="right") - 1
    return np.asarray(best[last])


def _strongest_of_many(accuracy: NDArray[np.float64], cost: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the same for several costs."""
    found = np.empty(len(accuracy))
    for start in range(0, len(accuracy), BLOCK):
        allowed = cost[start : start + BLOCK] * (1 + LATENCY_TIE)
        within = np.ones((len(allowed), len(accuracy)), bool)
        for mine, others in zip(allowed.T, cost.T, strict=True):
            within &= others[None, :] <= mine[:, None]
        found[start : start + BLOCK] = np.where(within, accuracy[None, :], -np.inf).max(axis=1)
    return found


def _leads(mine: NDArray[np.float64], other: NDArray[np.float64], examples: int) -> NDArray[np.bool_]:
    """Tell, for each, whether the other's metric leads beyond chance; see `lead`."""
    shares = (mine >= 0) & (mine <= 1) & (other >= 0) & (other <= 1)
    with np.errstate(invalid="ignore"):
        chance = 2 * np.sqrt((mine * (1 - mine) + other * (1 - other)) / max(1, examples))
    needed = np.where(shares, chance, 0.01 * np.maximum(abs(mine), abs(other)))
    return np.asarray(other - mine > needed)


def _hoped(standings: Sequence[Standing]) -> NDArray[np.float64]:
    """Return metrics as hoped: a student that rises faster than most is taken for as much better as it rose more."""
    rises = [s.rise for s in standings if s.rise is not None]
    usual = median(rises) if rises else 0.0
    accuracy = np.array([s.accuracy for s in standings], float)
    more = np.array([0.0 if s.rise is None else max(0.0, s.rise - usual) for s in standings])
    return np.asarray(np.where(accuracy <= 1, np.minimum(accuracy + more, 1.0), accuracy + more))


def _by_gaps(front: Sequence[Standing], hoped: NDArray[np.float64], gone_on: AbstractSet[int]) -> Iterator[int]:
    """Yield those that went on, then always the one furthest from all before it.

    Where nobody went on, the most accurate comes first.

    Args:
        front: Those of one rank.
        hoped: Their metrics as hoped.
        gone_on: Numbers of those that went on.
    """
    costs = [tuple(math.log(c) if c > 0 else c for c in s.cost) for s in front]
    points = np.column_stack([hoped, np.array(costs, float).reshape(len(front), -1)])
    points /= np.where((span := np.ptp(points, axis=0)) > 0, span, 1.0)
    weights = np.array([s.weight for s in front])
    waiting = np.array([s.number not in gone_on for s in front])
    yield from (s.number for s in front if s.number in gone_on)
    apart = _apart(points, points[~waiting])
    for _ in range(int(waiting.sum())):
        gain = weights * (points[:, 0] - points[:, 0].min() + 1 if np.isinf(apart).any() else apart)
        best = int(np.argmax(np.where(waiting, gain, -1.0)))
        waiting[best] = False
        yield front[best].number
        apart = np.minimum(apart, np.linalg.norm(points - points[best], axis=1))


def _apart(points: NDArray[np.float64], taken: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distance of each point from the nearest of those taken; infinite where none is."""
    if not len(taken):
        return np.full(len(points), np.inf)
    from scipy.spatial import cKDTree

    return np.asarray(cKDTree(taken).query(points)[0])
