"""The first section of a report: which model to take, how sure that is, and the command that ships it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any

from ..entry import Entry
from ..intervals import speed_up
from ..picked import may_miss
from ..policy import choose, held_to_teacher
from .record import Record
from .wording import PlanWords, kilobytes, milliseconds

TITLES = {
    "knee": "Knee of the front",
    "fastest": "Fastest within 1 % of the teacher",
    "accuracy": "Highest",
    "smallest": "Smallest within 1 % of the teacher",
}
SHIPPED = " --out deploy"
"""The end of the command that ships a model."""
MOST_NAMED = 8
"""Trials that a sentence names at most."""


@dataclass(frozen=True)
class Choice:
    """A model with its figures as text.

    Attributes:
        title: Why it is here.
        number: Of the trial.
        label: Where it comes from.
        by_hand: Whether it is what one would do without a search.
        disturbed: Whether other work ran while it was measured.
        metric: The metric on validation.
        metric_interval: Its interval, empty where none is known.
        test: The metric on the test split, empty where it was not scored.
        test_interval: Its interval.
        latencies: Target, median (ms), its interval, and the percentile that the budget is about where that is another.
        speed_up: Over the teacher, by their measured ratio.
        speed_up_interval: Its interval.
        size: Of the largest file.
        plan: In words.
        operators: How many its files have, and how many are left after fusion; empty where that is not known.
        command: That ships it.
    """

    title: str
    number: int
    label: str
    by_hand: bool
    disturbed: bool
    metric: str
    metric_interval: str
    test: str
    test_interval: str
    latencies: tuple[tuple[str, str, str, str], ...]
    speed_up: str
    speed_up_interval: str
    size: str
    plan: str
    operators: str
    command: str


@dataclass(frozen=True)
class Answer:
    """What to take.

    Attributes:
        asked: The limits, each in words.
        choice: The model to take, None where none qualifies.
        missing: Why none does.
        same: How sure the choice is: whether it may miss its budget, and what cannot be told apart from it, in
            sentences.
        others: Further choices under the same limits.
    """

    asked: tuple[str, ...]
    choice: Choice | None
    missing: str
    same: tuple[str, ...]
    others: tuple[Choice, ...]

    @property
    def number(self) -> int | None:
        """Of the trial to take."""
        return None if self.choice is None else self.choice.number


def answer(record: Record) -> Answer:
    """Return which model to take: under limits the best one, else the knee of the front."""
    front, limits = record.front, record.front.limits
    words = PlanWords(record.space)
    best = front.fitting[0] if limits.any and front.fitting else None
    if not limits.any:
        best = choose(front, "knee")
    others: dict[int, Choice] = {}
    titles = {**TITLES, "accuracy": f"{'Highest' if record.metric.maximized else 'Lowest'} {record.metric.name}"}
    if not held_to_teacher(front, limits):
        titles |= {"fastest": "Fastest", "smallest": "Smallest"}
    for policy, title in titles.items():
        entry = choose(front, policy)
        if entry is None or (policy == "knee" and not limits.any):
            continue
        before = others.get(entry.number)
        title = title if before is None else f"{before.title}; {title[0].lower()}{title[1:]}"
        others[entry.number] = describe(record, entry, title, words)
    if best is None:
        missing = front.explain(limits) if front.trials else "no model is finished yet"
        return Answer(tuple(limits.in_words()), None, missing, (), tuple(others.values()))
    title = "Best under the limits" if limits.any else TITLES["knee"]
    chosen = describe(record, best, title, words)
    return Answer(tuple(limits.in_words()), chosen, "", tuple(_same(record, best)), tuple(others.values()))


def describe(record: Record, entry: Entry, title: str, words: PlanWords) -> Choice:
    """Return the figures of a model as text."""
    front = record.front
    percentile = front.limits.percentile
    times = speed_up(entry.reported_latency)
    test = entry.test_quality
    return Choice(
        title=title,
        number=entry.number,
        label=entry.trial.label,
        by_hand=entry.trial.by_hand,
        disturbed=entry.disturbed,
        metric=entry.metric_text,
        metric_interval=_metric_interval(record, entry.quality, "validation", entry.quality_sd),
        test=entry.test_text,
        test_interval="" if test is None else _metric_interval(record, test, "test"),
        latencies=tuple(
            (
                name,
                milliseconds(latency.p50_ms),
                f"{milliseconds(latency.low_ms)} to {milliseconds(latency.high_ms)}",
                "" if percentile == 50 else f"p{percentile} up to {milliseconds(latency.at(percentile))}",
            )
            for name, latency in entry.reported.items()
        ),
        speed_up=f"{times.value:.2f}",
        speed_up_interval="" if times.low == times.high else f"{times.low:.2f} to {times.high:.2f}",
        size=kilobytes(entry.size_bytes),
        plan="; ".join(words.of(entry.trial)),
        operators=_operators(entry),
        command=pick_command(record, entry.number),
    )


def pick_command(record: Record, number: int) -> str:
    """Return the command that ships a trial."""
    return f"autocompress pick {shlex.quote(str(record.front.folder))} --trial {number}{SHIPPED}"


def _operators(entry: Entry) -> str:
    measured = entry.trial.measured
    found = {name: file.operators_in_words for name, file in measured.items() if file.operators_in_words}
    return "; ".join(f"{name}: {words}" if len(measured) > 1 else words for name, words in found.items())


def _metric_interval(record: Record, quality: float, split: str, sd: float | None = None) -> str:
    interval = record.metric_interval(quality, split, sd)
    if interval is None:
        return ""
    low, high = (record.metric.kept(end) for end in interval)
    return f"{record.metric.text(low)} to {record.metric.text(high)}"


def _same(record: Record, best: Entry) -> list[str]:
    """Return sentences on how sure the choice is: whether it may miss its budget, and what is as good, beyond noise."""
    rivals = [e for e in record.front.fitting if e.number != best.number]
    level = [e for e in rivals if record.metric_verdict(e, best) == "tie"]
    faster = [e for e in level if record.latency_verdict(e, best) == "faster"]
    twins = [e for e in level if record.latency_verdict(e, best) == "tie"]
    better = [e for e in rivals if record.metric_verdict(e, best) == "better"]
    better = [e for e in better if record.latency_verdict(e, best) != "slower"]
    metric, found = record.metric.name, list[str]()
    if miss := may_miss(best, record.front.limits):
        found.append(f"It was measured anew after the choice{miss}.")
    if not record.knows_noise:
        found.append(f"No interval is known for {metric}: differences in it count as they are.")
    if twins:
        found.append(f"Neither its {metric} nor its latency can be told apart from {_named(twins)}.")
    if faster:
        found.append(
            f"Its {metric} cannot be told apart from {_named(faster)}, which {_is(faster)} faster beyond noise."
        )
    if better:
        found.append(f"By {metric}, {_named(better)} {_is(better)} better beyond noise, and not slower beyond noise.")
    if not twins and not faster and not better and rivals and record.knows_noise:
        which = "model under the limits" if record.front.limits.any else "model"
        found.append(f"No other {which} is as good and as fast, within the noise of both.")
    return found


def _is(entries: list[Any]) -> str:
    return "is" if len(entries) == 1 else "are"


def _named(entries: list[Entry]) -> str:
    names = [f"{e.number} ({milliseconds(e.reported_latency.p50_ms)} ms)" for e in entries[:MOST_NAMED]]
    more = [f"{len(entries) - MOST_NAMED} more"] if len(entries) > MOST_NAMED else []
    parts = [*names, *more]
    joined = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    return f"trial{'s' if len(entries) > 1 else ''} {joined}"
