"""The third section of a report: what each technique alone is worth, beside the joint search."""

from __future__ import annotations

from dataclasses import dataclass

from ..entry import Entry
from .answer import describe
from .record import Record
from .wording import PlanWords, duration


@dataclass(frozen=True)
class Row:
    """One technique, as text.

    Attributes:
        name: Of the technique.
        number: Of its trial.
        metric: On the validation split.
        metric_interval: Its interval.
        latency: Median (ms).
        latency_interval: Its interval.
        speed_up: Over the teacher.
        size: Of the file.
        training: Seconds of training that it had.
        note: What there is to say.
        strong: Whether it is what the search found.
    """

    name: str
    number: str
    metric: str
    metric_interval: str
    latency: str
    latency_interval: str
    speed_up: str
    size: str
    training: str
    note: str = ""
    strong: bool = False


@dataclass(frozen=True)
class TechniqueRows:
    """All techniques.

    Attributes:
        rows: One for each that was measured.
        sentences: What there is to say of them.
        missing: What is missing, in one sentence.
        command: That measures what is missing, empty where nothing is.
    """

    rows: tuple[Row, ...]
    sentences: tuple[str, ...] = ()
    missing: str = ""
    command: str = ""


def technique_rows(record: Record) -> TechniqueRows:
    """Return what one does by hand, and what the search found, each with its figures."""
    front = record.front
    words = PlanWords(record.space)
    hand = sorted((e for e in front.entries if e.trial.by_hand), key=lambda e: e.number)
    rows = [_row(record, entry, entry.trial.label, words) for entry in hand]
    pool = front.fitting if front.limits.any else front.best
    found = next((e for e in (pool if front.limits.any else reversed(pool)) if not e.trial.by_hand), None)
    if found is not None:
        rows.append(_row(record, found, "the joint search", words, strong=True))
    return TechniqueRows(tuple(rows))


def _row(record: Record, entry: Entry, name: str, words: PlanWords, strong: bool = False) -> Row:
    chosen = describe(record, entry, name, words)
    _, p50, interval, _ = chosen.latencies[0]
    training = entry.trial.seconds.get("training", 0.0)
    return Row(
        name=name,
        number=str(entry.number),
        metric=chosen.metric,
        metric_interval=chosen.metric_interval,
        latency=p50,
        latency_interval=interval,
        speed_up=f"{chosen.speed_up} ×" if chosen.speed_up else "–",
        size=chosen.size,
        training=duration(training) if training else "none",
        note=entry.trial.label if strong else "",
        strong=strong,
    )
