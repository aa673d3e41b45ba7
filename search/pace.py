"""When a run of a search ends, and what is shown of it meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .feasibility import Limits
from .trial import Trial


@dataclass(frozen=True)
class Snapshot:
    """What a progress display shows.

    Attributes:
        trials: Those that ended, the last `new` of them in this run.
        new: How many ended in this run.
        running: What each job is doing.
        elapsed_s: Seconds of this run.
        waiting: Number of students that wait at a rung.
        limits: What models must meet, and how the metric is shown.
    """

    trials: Sequence[Trial]
    new: int
    running: Sequence[str]
    elapsed_s: float
    waiting: int = 0
    limits: Limits = field(default_factory=Limits)


@dataclass
class Stop:
    """Tells whether to end: asked for by the user, or out of time. Threads may share it.

    Attributes:
        asked: Set when the user asks.
        hurried: Set when it has to end within seconds: what can wait for the next run is left to it.
        deadline_s: On the monotonic clock, None without one.
    """

    asked: threading.Event = field(default_factory=threading.Event)
    hurried: threading.Event = field(default_factory=threading.Event)
    deadline_s: float | None = None

    def __call__(self) -> bool:
        """Tell whether to end."""
        return self.asked.is_set() or (self.deadline_s is not None and time.monotonic() > self.deadline_s)

    def time_left_s(self) -> float | None:
        """Return the seconds until the deadline, None without one."""
        return None if self.deadline_s is None else self.deadline_s - time.monotonic()


@dataclass(frozen=True)
class Pace:
    """When a run ends, and which clock it goes by.

    Attributes:
        max_trials: Trials of this run, None for any number.
        time_left_s: Returns the seconds until the search has to end, None where it need not.
        clock_s: Returns the seconds of the clock that time is spent on.
        since_s: When, on that clock, this run of the study began; now if None.
    """

    max_trials: int | None = None
    time_left_s: Callable[[], float | None] = lambda: None
    clock_s: Callable[[], float] = time.monotonic
    since_s: float | None = None

    def enough(self, started: int) -> bool:
        """Tell whether this run has begun as many trials as it may."""
        return self.max_trials is not None and started >= self.max_trials
