"""What the models of a study are worth, with latency as a part of the teacher's, and which of them others equal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from autocompress.search.report.entry import Entry
from autocompress.search.report.front import Front
from benchmarks.search_comparison.points import Point
from benchmarks.search_comparison.volume import ABOVE_TEACHER, BELOW_TEACHER, Box


def volume(front: Front, entries: Sequence[Entry]) -> float:
    """Return the hypervolume of some models of a study; see `search_comparison.volume`."""
    assert front.teacher is not None
    teacher = front.teacher.accuracy
    box = Box(1.0, max(0.0, teacher - BELOW_TEACHER), min(1.0, teacher + ABOVE_TEACHER))
    return box.volume([_point(front, entry) for entry in entries])


def worth(front: Front, entries: Sequence[Entry]) -> list[tuple[float, float]]:
    """Return accuracy and latency, as a part of the teacher's, of some models of a study."""
    return [(entry.accuracy, part(front, entry)) for entry in entries]


def part(front: Front, entry: Entry) -> float:
    """Return the latency of a model as a part of the teacher's."""
    assert front.teacher is not None
    return entry.latency.p50_ms / front.teacher.latency.p50_ms


def beyond(known: Sequence[tuple[float, float]], front: Front, entries: Sequence[Entry]) -> Iterator[Entry]:
    """Yield those models of a study that no known pair of accuracy and relative latency equals in both."""
    for entry in entries:
        if not any(a >= entry.accuracy and ms <= part(front, entry) for a, ms in known):
            yield entry


def _point(front: Front, entry: Entry) -> Point:
    latency = part(front, entry)
    return Point(0.0, entry.accuracy, latency, latency, latency, latency, entry.trial.spec.key())
