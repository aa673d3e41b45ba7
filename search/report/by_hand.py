"""Which of the models that were made by hand stand for what one would have shipped."""

from __future__ import annotations

from collections.abc import Sequence

from .entry import Entry
from .front import Front

NEARLY = 0.01
"""Without a limit, the fastest model counts that loses no more than this part of the teacher's metric."""


def best_of(front: Front, entries: Sequence[Entry]) -> Entry:
    """Return the model that one would ship of these: the best under the study's limits, else what comes closest.

    Args:
        front: The study's front.
        entries: At least one.
    """
    limits, teacher = front.limits, front.teacher
    if not limits.any and teacher is not None:
        least = teacher.quality - NEARLY * abs(teacher.quality)
        near = [entry for entry in entries if entry.quality >= least]
        return min(near, key=lambda e: e.latency.p50_ms) if near else max(entries, key=lambda e: e.quality)
    numbers = {entry.number for entry in entries}
    fitting = [entry for entry in front.fitting if entry.number in numbers]
    if fitting:
        return fitting[0]
    return min(entries, key=lambda e: (max(0.0, limits.excess(e.latencies) or 0.0), -e.quality))


def shown_by_hand(front: Front) -> list[Entry]:
    """Return what is made by hand; of the settings that were tried for one technique, the one that counts."""
    found = [entry for entry in front.entries if entry.trial.by_hand and not entry.trial.technique]
    tried: dict[str, list[Entry]] = {}
    for entry in front.entries:
        if entry.trial.by_hand and entry.trial.technique:
            tried.setdefault(entry.trial.technique, []).append(entry)
    return found + [best_of(front, entries) for entries in tried.values()]
