"""Which of the models that were made by hand stand for what one would have shipped."""

from __future__ import annotations

from collections.abc import Sequence

from ..technique_kinds.kind import STEP_OF
from .entry import Entry
from .explain import closest
from .front import Front
from .policy import least_near


def best_of(front: Front, entries: Sequence[Entry]) -> Entry:
    """Return the model that one would ship of these: the best under the study's limits, else what comes closest.

    Without a limit it is the fastest that is about as good as the teacher.

    Args:
        front: The study's front.
        entries: At least one.
    """
    limits, teacher = front.limits, front.teacher
    if not limits.any and teacher is not None:
        least = least_near(teacher)
        near = [entry for entry in entries if entry.quality >= least]
        return min(near, key=lambda e: e.latency.p50_ms) if near else max(entries, key=lambda e: e.quality)
    numbers = {entry.number for entry in entries}
    fitting = [entry for entry in front.fitting if entry.number in numbers]
    if fitting:
        return fitting[0]
    return closest(entries, limits, front.least)


def shown_by_hand(front: Front) -> list[Entry]:
    """Return what is made by hand; of the settings that were tried for one technique, the one that counts."""
    found = [entry for entry in front.entries if entry.trial.by_hand and not entry.trial.technique]
    tried: dict[str, list[Entry]] = {}
    for entry in front.entries:
        # what only is on the way to a model of a technique is nothing that one would ship
        if entry.trial.by_hand and entry.trial.technique and not entry.trial.technique.startswith(STEP_OF):
            tried.setdefault(entry.trial.technique, []).append(entry)
    return found + [best_of(front, entries) for entries in tried.values()]
