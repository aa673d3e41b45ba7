"""When trials began and ended, for those who look at a study with Optuna's own tools."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

from ..trial import Trial
from .layout import trial_folder


class TrialTimes:
    """Knows when the trials of this run began; of earlier ones, how long they took."""

    def __init__(self, folder: Path) -> None:
        """Look at trials of a study's folder."""
        self._folder = folder
        self._begun_s: dict[int, float] = {}

    def noted(self, trial: Trial) -> None:
        """Take in that it was written how a trial stands; the first time, that it has begun."""
        self._begun_s.setdefault(trial.number, time.time())

    def of(self, trial: Trial) -> tuple[datetime, datetime]:
        """Return when a trial that ended began and ended, in UTC without a zone, as Optuna's tables have it.

        A trial that waited at a rung began before it waited. One that an earlier run began is known by the seconds
        that it was worked on, and ended when its file was written last.
        """
        try:
            ended_s = (trial_folder(self._folder, trial.number) / "plan.json").stat().st_mtime
        except OSError:
            ended_s = time.time()
        worked_s = sum(trial.seconds.values())
        begun_s = min(self._begun_s.get(trial.number, ended_s), ended_s - worked_s)
        begun, ended = (datetime.fromtimestamp(each, UTC).replace(tzinfo=None) for each in (begun_s, ended_s))
        return begun, ended
