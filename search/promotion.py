"""Which students go on training: asynchronous successive halving with several objectives.

Students wait at their rung, with their checkpoint. Whenever there is room, one that stands among the best 1/eta of
those at its rung goes on to the next (Li et al. 2020, arXiv:1810.05934). "Best" is by non-dominated rank, and within a
rank the one in the widest gap between those already taken comes first (Schmucker et al. 2021, arXiv:2106.12639). Nobody
is thrown away: who waits can still go on when others fall behind.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from statistics import median

import numpy as np
from numpy.typing import NDArray

LATENCY_TIE = 0.02
"""Latencies closer than this are not told apart."""


@dataclass(frozen=True)
class Standing:
    """Where a student stands at a rung. number: of its trial. cost: its objectives besides accuracy, lower is better.
    rise: what its accuracy gained since the rung before, None at the first. weight: of the gap around it, larger
    where the user looks."""

    number: int
    accuracy: float
    cost: tuple[float, ...]
    rise: float | None = None
    weight: float = 1.0


def best_of_rung(
    standings: Sequence[Standing], gone_on: AbstractSet[int], fixed: AbstractSet[int], eta: int, examples: int
) -> int | None:
    """The number of the student that should go on from this rung; None while none should.

    standings: everyone that reached the rung. gone_on: of these, who went on already. fixed: who goes on whatever
    happens; they are compared with, and take nobody's place. examples: images behind an accuracy.
    """
    room = (len(standings) - len(fixed)) // eta
    best = [n for n in order(standings, gone_on | fixed, examples) if n not in fixed][:room] if room else []
    return next((n for n in best if n not in gone_on), None)


def order(standings: Sequence[Standing], gone_on: AbstractSet[int], examples: int) -> list[int]:
    """Numbers, best first: by non-dominated rank beyond chance, within a rank those that went on already, then always
    the one in the widest gap."""
    if not standings:
        return []
    hoped = _with_slopes(standings)
    beaten = _beaten(hoped, examples)
    left = np.ones(len(hoped), bool)
    found: list[int] = []
    while left.any():
        front = left & ~(beaten & left).any(axis=1)
        found += _by_gaps([hoped[i] for i in np.flatnonzero(front)], gone_on)
        left &= ~front
    return found


def lead(a: float, b: float, examples: int) -> float:
    """The difference of two accuracies that is more than chance: two standard errors of the difference of two shares
    of `examples` (a pair is scored on the same examples, so this is on the safe side); metrics outside 0 to 1 need a
    lead of 1 % of their size."""
    if not (0 <= a <= 1 and 0 <= b <= 1):
        return 0.01 * max(abs(a), abs(b))
    return 2 * math.sqrt((a * (1 - a) + b * (1 - b)) / max(1, examples))


def _beaten(standings: Sequence[Standing], examples: int) -> NDArray[np.bool_]:
    """[i, j]: whether j costs no more than i and is more accurate beyond chance; see `lead`."""
    accuracy = np.array([s.accuracy for s in standings], float)
    cost = np.array([s.cost for s in standings], float).reshape(len(standings), -1)
    mine, other = accuracy[:, None], accuracy[None, :]
    shares = (mine >= 0) & (mine <= 1) & (other >= 0) & (other <= 1)
    with np.errstate(invalid="ignore"):
        chance = 2 * np.sqrt((mine * (1 - mine) + other * (1 - other)) / max(1, examples))
    needed: NDArray[np.float64] = np.where(shares, chance, 0.01 * np.maximum(abs(mine), abs(other)))
    beaten: NDArray[np.bool_] = other - mine > needed
    for column in cost.T:
        beaten &= column[None, :] <= column[:, None] * (1 + LATENCY_TIE)
    return beaten


def _with_slopes(standings: Sequence[Standing]) -> list[Standing]:
    """Who rises faster than most is taken for as much better as it rose more: it would have won later."""
    rises = [s.rise for s in standings if s.rise is not None]
    usual = median(rises) if rises else 0.0
    found = []
    for s in standings:
        hoped = s.accuracy + (0.0 if s.rise is None else max(0.0, s.rise - usual))
        found.append(replace(s, accuracy=min(hoped, 1.0) if s.accuracy <= 1 else hoped))
    return found


def _by_gaps(front: Sequence[Standing], gone_on: AbstractSet[int]) -> list[int]:
    """Those that went on, then always the one furthest from all before it; the most accurate begins where nobody
    went on."""
    points = np.array([(s.accuracy, *(math.log(c) if c > 0 else c for c in s.cost)) for s in front], float)
    points /= np.where((span := np.ptp(points, axis=0)) > 0, span, 1.0)
    weights = np.array([s.weight for s in front])
    waiting = np.array([s.number not in gone_on for s in front])
    apart = np.full(len(front), np.inf)
    for i in np.flatnonzero(~waiting):
        apart = np.minimum(apart, np.linalg.norm(points - points[i], axis=1))
    found = [s.number for s in front if s.number in gone_on]
    for _ in range(int(waiting.sum())):
        worth = weights * (points[:, 0] - points[:, 0].min() + 1 if np.isinf(apart).any() else apart)
        best = int(np.argmax(np.where(waiting, worth, -1.0)))
        waiting[best] = False
        found.append(front[best].number)
        apart = np.minimum(apart, np.linalg.norm(points - points[best], axis=1))
    return found
