"""Followers beside a search: each in a thread of its own, so that a server that is slow or away costs no training."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from ...errors import one_line
from ..logs import log
from ..trial import Trial
from .base import EndedTrial, FollowedStudy, Follower, without_password
from .telling import Telling, followed_study

END_S = 30.0
"""Seconds that followers have for what is still to be logged when a search has ended."""
HURRIED_S = 1.0
"""The same where the search has to end within seconds."""
Say = Callable[[str], None]


class Following:
    """One follower, and the trials that it has still to log."""

    def __init__(self, follower: Follower, telling: Telling) -> None:
        """Begin to follow the study that `telling` tells of."""
        self._follower, self._telling = follower, telling
        self._given: queue.Queue[list[Trial] | None] = queue.Queue()
        self._said: deque[str] = deque()
        self._logged: set[int] | None = None
        self._there: set[int] = set()
        self._late = threading.Event()
        self._waiting: deque[EndedTrial] = deque()
        self._failing = False
        self._seen: tuple[int, ...] = ()
        self._thread = threading.Thread(target=self._follow, daemon=True, name="follower")
        self._thread.start()

    def look(self, trials: Sequence[Trial]) -> None:
        """Take in all trials that ended so far."""
        if len(trials) != len(self._seen):
            self._seen = tuple(trial.number for trial in trials)
            self._given.put(list(trials))

    def tell(self, say: Say) -> None:
        """Say what went wrong since the last call."""
        while self._said:
            say(self._said.popleft())

    def ask_to_end(self) -> None:
        """Let it log what waits, and end."""
        self._given.put(None)

    def wait(self, seconds: float) -> None:
        """Wait for its end, and note what is left."""
        self._thread.join(max(0.0, seconds))
        self._late.set()  # the next run may log them now
        if left := len(set(self._seen) - self._there):
            trials = "1 trial is" if left == 1 else f"{left} trials are"
            self._said.append(f"{trials} not logged to {self._follower.where}; the next run of this study does so")

    def _follow(self) -> None:
        known = 0
        while (trials := self._given.get()) is not None:
            while not self._given.empty() and self._given.queue[0] is not None:
                trials = self._given.get()  # those of before are among them
                assert trials is not None
            with self._trouble_told():
                self._waiting += self._telling.of(trials, known)
                known = len(trials)
                self._log_waiting()
        with self._trouble_told():
            self._log_waiting()
        with self._trouble_told():
            self._follower.close()

    def _log_waiting(self) -> None:
        if self._logged is None and self._waiting:
            self._logged = set(self._follower.open(self._study()))
            self._there |= self._logged
        while self._waiting and self._logged is not None and not self._late.is_set():
            number = self._waiting[0].number
            if number not in self._logged:
                self._follower.add(self._waiting[0])
                self._logged.add(number)
                self._there.add(number)
            self._waiting.popleft()
        if self._failing:
            self._failing = False
            self._said.append(f"trials are logged to {self._follower.where} again")

    def _study(self) -> FollowedStudy:
        return followed_study(self._telling.folder, self._telling.objectives)

    @contextlib.contextmanager
    def _trouble_told(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # of a library, a server, a disk
            self._logged = None  # it is asked anew what is there
            why = without_password(one_line(error))[:200]
            line = f"trials cannot be logged to {self._follower.where} ({why})"
            if self._failing:
                log(line)
            else:
                self._said.append(f"{line}; the search goes on, and tries again when the next trial ends")
            self._failing = True


class Followings:
    """All followers of a search."""

    def __init__(self, followers: Sequence[Follower], telling: Telling, say: Say) -> None:
        """Begin to follow; see `Following`."""
        self._each = [Following(follower, telling) for follower in followers]
        self._say = say

    def look(self, trials: Sequence[Trial]) -> None:
        """Take in the trials that ended so far, and say what went wrong. It takes no time."""
        for each in self._each:
            each.look(trials)
            each.tell(self._say)

    def close(self, seconds: float) -> None:
        """Let followers log what is left, within some seconds."""
        until_s = time.monotonic() + seconds
        for each in self._each:
            each.ask_to_end()
        for each in self._each:
            each.wait(until_s - time.monotonic())
            each.tell(self._say)
