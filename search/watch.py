"""What looks on while a search runs: what shows it to a user, and what is kept up to date beside it."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from .assemble import promotion_of
from .cleaning import CheckpointKeeper
from .decisions import Decisions
from .followers.following import Followings
from .logs import log
from .pace import Snapshot, Stop
from .report.confirm import seconds_needed
from .report.html.keep import ReportKeeper
from .report.lines import trial_line
from .report.reading import read_front
from .stopping import Patience
from .store.status import StatusKeeper
from .study import OpenStudy

MIN_RESERVE_S = 10.0
"""Seconds that are kept back for confirming the front, at least."""
RESERVE_SHARE = 0.15
"""Of the time of a search, what is kept back for confirming the front more precisely than it must be."""
MOST_SHARE = 0.5
"""Of that time, what is kept back at most: to score a large test split may take longer than all of it."""


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


class Logged:
    """Shows a search by another watcher, and logs what that is told: its lines, and each trial that ended."""

    def __init__(self, shown: Watcher) -> None:
        """Log beside `shown`."""
        self._shown = shown
        self._told: int | None = None

    def say(self, line: str) -> None:
        """Log a line, and show it."""
        log(line)
        self._shown.say(line)

    def show(self, snapshot: Snapshot, time_left_s: float | None) -> None:
        """Log the trials that ended since the last call, and show how the search stands."""
        self.note(snapshot)
        self._shown.show(snapshot, time_left_s)

    def note(self, snapshot: Snapshot) -> None:
        """Log the trials that ended since the last call, and show nothing."""
        told = len(snapshot.trials) - snapshot.new if self._told is None else self._told
        for trial in snapshot.trials[told:]:
            log(trial_line(trial, snapshot.limits.metric))
        self._told = len(snapshot.trials)


class Watch:
    """Watches a running search: keeps back the time for confirming, and knows when patience is at its end.

    Attributes:
        known: The front when this run began.
        patience: Tells whether the front has stood still for too long.
    """

    def __init__(
        self,
        study: OpenStudy,
        decisions: Decisions,
        watcher: Watcher,
        stop: Stop,
        end_s: float | None,
        report: ReportKeeper,
        status: StatusKeeper,
        followings: Followings,
    ) -> None:
        """Begin to watch.

        Args:
            study: What is searched.
            decisions: Of the study.
            watcher: Shows the search to a user.
            stop: Its deadline is moved as the front needs more or less time to be confirmed.
            end_s: When the search has to be done, on the monotonic clock; None where it has no end.
            report: Keeps the report.
            status: Notes how the search stands.
            followings: Log trials elsewhere.
        """
        self.known = read_front(study.folder, decisions.trials)
        self._report = report
        examples = len(study.context.task.validation)
        patience = study.settings.search.patience
        self.patience = Patience(study.limits, study.objectives, examples, patience, decisions.searched_s)
        self._study, self._decisions, self._watcher, self._stop, self._end_s = study, decisions, watcher, stop, end_s
        self._judged, self._status, self._followings = -1, status, followings
        limit_bytes = 1e9 * study.settings.search.checkpoints_gb
        self._checkpoints = CheckpointKeeper(study.folder, promotion_of(study), limit_bytes, watcher.say)

    def __call__(self, snapshot: Snapshot) -> None:
        """Take in how the search stands."""
        # several times a second, beside a training: nothing costly but when a trial has ended
        keeps = self._study.access.keeps()
        if len(snapshot.trials) != self._judged:
            self._judged = len(snapshot.trials)
            if keeps:
                self._checkpoints.look(snapshot.trials, self._decisions.unfinished)
                self._report.keep(replace(self.known, trials=tuple(snapshot.trials)))
            if self._end_s is not None:
                front = replace(self.known, trials=tuple(snapshot.trials))
                least_s, precise_s = seconds_needed(self._study.context, front)
                whole_s = 60 * (self._study.settings.search.minutes or 0)
                share_s, least_s = RESERVE_SHARE * whole_s, min(least_s, MOST_SHARE * whole_s)
                self._stop.deadline_s = self._end_s - max(min(MIN_RESERVE_S, share_s), least_s, min(share_s, precise_s))
        self._look_patiently()
        self._watcher.show(snapshot, self._stop.time_left_s())
        if keeps:
            self._status.look(snapshot, self._stop.time_left_s())
        self._followings.look(snapshot.trials)

    def should_stop(self) -> bool:
        """Tell whether to end."""
        self._look_patiently()
        return self._stop() or self.patience.is_over(self._decisions.searched_s)

    def _look_patiently(self) -> None:
        # not as trials end alone: one of the opening may take longer than a user has patience
        self.patience.look(self._decisions.trials, self._decisions.searched_s, self._decisions.opening)
