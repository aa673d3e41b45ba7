"""Policies: which model of a front to take, where several would do."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...errors import UsageError
from ..feasibility import Limits, after_drop
from ..pareto import non_dominated
from ..trial import Origin
from .entry import Entry
from .explain import NEAR
from .front import Front

AS_GOOD = " that is about as good as the teacher"


@dataclass(frozen=True)
class Policy:
    """One way to choose.

    Attributes:
        name: As users write it.
        words: What it chooses, to follow on "the".
        choose: Returns the chosen model of a front under limits, None where no model qualifies.
    """

    name: str
    words: str
    choose: Callable[[Front, Limits], Entry | None]


def choose(front: Front, policy: str, limits: Limits | None = None) -> Entry | None:
    """Return the model that a policy takes.

    Args:
        front: The front.
        policy: One of `POLICIES`.
        limits: What the model must meet, in place of what the study asks.

    Returns:
        The model; None where no finished model qualifies.

    Raises:
        UsageError: There is no such policy.
    """
    if policy not in POLICIES:
        raise UsageError(f"policy {policy!r}; allowed: {', '.join(POLICIES)}")
    return POLICIES[policy].choose(front, front.limits if limits is None else limits)


def slowness(front: Front) -> Callable[[Entry], float]:
    """Return what tells how slow a model is: its latency over the teacher's, on the target where that is largest.

    Where the teacher was not measured on every target of the front, it is the latency (ms) of all models on their
    slowest targets: a ratio on one target and milliseconds on another do not compare.
    """
    teacher_ms = {
        name: latency.p50_ms
        for entry in front.entries
        if entry.trial.origin is Origin.TEACHER
        for name, latency in entry.latencies.items()
    }
    targets = {name for entry in front.entries for name in entry.latencies}
    unit_ms = teacher_ms if targets <= teacher_ms.keys() else dict.fromkeys(targets, 1.0)
    return lambda entry: max(latency.p50_ms / unit_ms[name] for name, latency in entry.latencies.items())


def held_to_teacher(front: Front, limits: Limits) -> bool:
    """Tell whether "fastest" and "smallest" ask for a model that is about as good as the teacher.

    They do where no limit asks for a metric, and a teacher was measured.
    """
    return limits.min_accuracy is None and front.teacher is not None


def in_words(front: Front, policy: str, limits: Limits) -> str:
    """Return what a policy chooses under limits, to follow on "the"."""
    words = POLICIES[policy].words
    return words if held_to_teacher(front, limits) else words.removesuffix(AS_GOOD)


def near_teacher(front: Front, limits: Limits) -> list[Entry]:
    """Return the models under the limits that are about as good as the teacher, best first.

    They have lost at most `NEAR` of the teacher's metric. Where the limits ask for a metric, or no teacher was
    measured, all models under the limits count.
    """
    found = front.under(limits)
    if front.teacher is None or not held_to_teacher(front, limits):
        return found
    floor = least_near(front.teacher)
    return [entry for entry in found if entry.quality >= floor]


def least_near(teacher: Entry) -> float:
    """Return the least metric, as a search keeps it, that is about as good as the teacher's."""
    return after_drop(teacher.quality, NEAR)


def _accuracy(front: Front, limits: Limits) -> Entry | None:
    slow = slowness(front)
    return min(front.under(limits), key=lambda e: (-e.quality, slow(e), e.size_bytes), default=None)


def _fastest(front: Front, limits: Limits) -> Entry | None:
    slow = slowness(front)
    return min(near_teacher(front, limits), key=lambda e: (slow(e), -e.quality, e.size_bytes), default=None)


def _smallest(front: Front, limits: Limits) -> Entry | None:
    slow = slowness(front)
    found = near_teacher(front, limits)
    return min(found, key=lambda e: (e.size_bytes, -e.quality, slow(e)), default=None)


def _knee(front: Front, limits: Limits) -> Entry | None:
    found, slow = front.under(limits), slowness(front)
    if not found:
        return None
    best = [found[i] for i in non_dominated([[-e.quality, slow(e)] for e in found])]
    gains = _above_chord([e.quality for e in best], [math.log(slow(e)) for e in best])
    return max(
        zip(gains, best, strict=True), key=lambda pair: (pair[0], pair[1].quality, -slow(pair[1]), -pair[1].size_bytes)
    )[1]


def _above_chord(qualities: Sequence[float], costs: Sequence[float]) -> list[float]:
    """Return how far points lie beyond the line between the two ends of their front, both axes scaled to 0 to 1.

    The knee is where that is largest (Das 1999, doi:10.1007/BF01195985).
    """

    def scaled(values: Sequence[float]) -> list[float]:
        low, high = min(values), max(values)
        return [(value - low) / ((high - low) or 1.0) for value in values]

    return [round(quality - cost, 12) for quality, cost in zip(scaled(qualities), scaled(costs), strict=True)]


POLICIES = {
    policy.name: policy
    for policy in (
        Policy("accuracy", "most accurate model", _accuracy),
        Policy("fastest", f"fastest model{AS_GOOD}", _fastest),
        Policy("smallest", f"smallest model{AS_GOOD}", _smallest),
        Policy("knee", "knee of the front, beyond which each gain in the metric costs the most time", _knee),
    )
}
"""All policies, by name."""
