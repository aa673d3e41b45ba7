"""Rungs: which students go on training. Comparisons are made between equal rungs only."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

LATENCY_TIE = 0.02
"""Latencies closer than this are not told apart."""


@dataclass(frozen=True)
class Standing:
    """Where a student stands at a rung. cost: its objectives besides accuracy, lower is better."""

    accuracy: float
    cost: tuple[float, ...]


def is_overtaken(own: Standing, others: Iterable[Standing], examples: int) -> bool:
    """Whether another student at the same rung costs no more and is more accurate beyond chance.

    Beyond chance: two standard errors of the difference of two shares of `examples` (the pair is scored on the
    same examples, so this is on the safe side); metrics outside 0 to 1 need a lead of 1 % of their size.
    """
    for other in others:
        cheaper = all(b <= a * (1 + LATENCY_TIE) for a, b in zip(own.cost, other.cost, strict=True))
        if cheaper and other.accuracy - own.accuracy > lead(own.accuracy, other.accuracy, examples):
            return True
    return False


def lead(a: float, b: float, examples: int) -> float:
    """The difference of two accuracies that is more than chance."""
    if not (0 <= a <= 1 and 0 <= b <= 1):
        return 0.01 * max(abs(a), abs(b))
    return 2 * math.sqrt((a * (1 - a) + b * (1 - b)) / max(1, examples))
