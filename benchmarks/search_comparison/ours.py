"""The search's own run."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from autocompress.search.pace import Stop
from autocompress.search.run import run_search
from autocompress.search.watch import Silent
from autocompress.studies.study_file import StudyFile
from autocompress.studies.task import Task

from .clock import Clock
from .points import Point, Run, Terms


class OutOfTime(Stop):
    """Ends a search when the clock has run out.

    The search gets all of its time for searching, as its rivals do, and none of it is kept back for confirming the
    front.
    """

    def __init__(self, clock: Clock) -> None:
        """End when `clock` has run out."""
        super().__init__()
        self._clock = clock

    @property
    def deadline_s(self) -> float | None:
        """When the clock runs out, as `time.monotonic` has it."""
        return self._clock.end_s

    @deadline_s.setter
    def deadline_s(self, _wanted: float | None) -> None:
        """Ignore what the search would set by its own rules."""


def run_ours(settings: StudyFile, task: Task, runs: Path, terms: Terms, seed: int) -> Run:
    """Search, and return what was found by when.

    Zero is when the study is open: what the search finds out for itself before its first trial is in its time. The
    final confirmation is not; models are as measured when they were finished.

    Args:
        settings: Of the study.
        task: Of the study.
        runs: Where the study lies prepared.
        terms: Of the comparison.
        seed: Of the search, as `settings` have it.
    """
    clock = Clock(60 * terms.minutes)
    clock.start(terms.opening_s)  # opening is not told of from within; trials know the seconds since then themselves
    outcome = run_search(settings, task, runs, watcher=Silent(), stop=OutOfTime(clock))
    points: list[Point] = []
    counts: Counter[str] = Counter()
    ended_s = 0.0
    for trial in outcome.front.trials:
        seconds = trial.ended_s or 0.0
        if seconds <= clock.limit_s:  # else its file came too late
            counts[trial.state.value] += 1
            ended_s = max(ended_s, seconds)
            for measurement in trial.measured.values():
                points.append(Point.of(measurement, trial.spec, seconds, terms.percentile))
    return Run(
        "ours",
        seed,
        terms,
        tuple(sorted(points, key=lambda p: p.seconds)),
        dict(counts),
        outcome.seconds,
        round(ended_s, 2) if outcome.exhausted else clock.limit_s,
        outcome.exhausted,
    )
