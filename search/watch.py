"""Watches a running search: shows it, keeps its report and its checkpoints, and knows when it is over."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from .assemble import promotion_of
from .cleaning import CheckpointKeeper
from .decisions import Decisions
from .pace import Snapshot, Stop
from .report.confirm import seconds_needed
from .report.html.keep import ReportKeeper
from .report.reading import read_front
from .stopping import Patience
from .store.status import StatusKeeper
from .study import OpenStudy

MIN_RESERVE_S = 10.0
"""Seconds that are kept back for confirming the front, at least."""
RESERVE_SHARE = 0.15
"""Of the time of a search, what is kept back for confirming the front more precisely than it must be."""


class Watcher(Protocol):
    """Shows a search to a user."""

    def say(self, line: str) -> None:
        """Show one line about what is going on."""
        ...

    def show(self, snapshot: Snapshot, time_left_s: float | None) -> None:
        """Show how the search stands; called several times a second."""
        ...


class Silent:
    """Shows nothing."""

    def say(self, line: str) -> None:
        """Drop the line."""

    def show(self, snapshot: Snapshot, time_left_s: float | None) -> None:
        """Drop the snapshot."""


class Watch:
    """Looks at a search several times a second: keeps back the time for confirming, and has patience.

    Attributes:
        known: The front when the search began.
        patience: Tells since when the front stands still.
    """

    def __init__(
        self,
        study: OpenStudy,
        decisions: Decisions,
        watcher: Watcher,
        stop: Stop,
        end_s: float | None,
        report: ReportKeeper,
    ) -> None:
        """Watch a study.

        Args:
            study: The study.
            decisions: Its decisions.
            watcher: Shows the search.
            stop: Its deadline is moved as more or less time is needed to confirm the front.
            end_s: When all has to be over, on the monotonic clock; None without an end.
            report: Keeps the report.
        """
        self.known = read_front(study.folder, decisions.trials)
        self._report = report
        examples = len(study.context.task.validation)
        patience = study.settings.search.patience
        self.patience = Patience(study.limits, study.objectives, examples, patience, decisions.searched_s)
        self._study, self._decisions, self._watcher, self._stop, self._end_s = study, decisions, watcher, stop, end_s
        self._judged, self._status = -1, StatusKeeper(study.folder)
        limit_bytes = 1e9 * study.settings.search.checkpoints_gb
        self._checkpoints = CheckpointKeeper(study.folder, promotion_of(study), limit_bytes, watcher.say)

    def __call__(self, snapshot: Snapshot) -> None:
        """Look how the search stands."""
        # several times a second, beside a training: nothing costly but when a trial has ended
        if len(snapshot.trials) != self._judged:
            self._judged = len(snapshot.trials)
            self._checkpoints.look(snapshot.trials, self._decisions.unfinished)
            self._report.keep(replace(self.known, trials=tuple(snapshot.trials)))
            if self._end_s is not None:
                front = replace(self.known, trials=tuple(snapshot.trials))
                least_s, precise_s = seconds_needed(self._study.context, front)
                share_s = RESERVE_SHARE * 60 * (self._study.settings.search.minutes or 0)
                self._stop.deadline_s = self._end_s - max(min(MIN_RESERVE_S, share_s), least_s, min(share_s, precise_s))
            self.patience.look(snapshot.trials, self._decisions.searched_s, self._decisions.opening)
        self._watcher.show(snapshot, self._stop.time_left_s())
        self._status.look(snapshot, self._stop.time_left_s())

    def should_stop(self) -> bool:
        """Tell whether the search is to end."""
        return self._stop() or self.patience.is_over(self._decisions.searched_s)
