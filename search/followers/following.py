"""Followers beside a search: each in a thread of its own, so that a server that is slow or away costs no training.

Of several drivers of one study, one logs to a place at a time, all trials, whoever ran them. Where it ends or dies,
another one that was asked to goes on.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from ...errors import one_line
from ..logs import log
from ..store.turns import StillLogging
from ..trial import Trial
from .base import EndedTrial, FollowedStudy, Follower, without_password
from .telling import Telling, followed_study

END_S = 30.0
"""Seconds that followers have for what is still to be logged when a search has ended."""
LATE_S = 5.0
"""The same, at least, where its minutes are over."""
HURRIED_S = 1.0
"""The same where the search has to end within seconds, and how long is waited for without a word."""
LOOK_S = 5.0
"""Seconds between two looks whether another driver still logs."""
AGAIN_S = 1.0
"""The same, where that one has left the study."""
Say = Callable[[str], None]


class Turns(Protocol):
    """Says whose turn it is to log, of several drivers of a study. Threads of followers call it."""

    def logged_by(self, place: str) -> str:
        """Return, in words, the other driver that logs to a place; empty where this one does from now on.

        Raises:
            StillLogging: The one that did has left the study, and is not through with a trial.
        """
        ...

    def logging(self, place: str) -> contextlib.AbstractContextManager[None]:
        """Keep the turn at a place meanwhile, even if this driver leaves the study."""
        ...


class Alone:
    """The turns of a driver that has its study alone."""

    def logged_by(self, place: str) -> str:
        """See `Turns`."""
        return ""

    def logging(self, place: str) -> contextlib.AbstractContextManager[None]:
        """See `Turns`."""
        return contextlib.nullcontext()


ALONE = Alone()


def seconds_to_end(hurried: bool, left_s: float | None) -> float:
    """Return how long followers may hold the end of a search.

    Args:
        hurried: Whether it has to end within seconds.
        left_s: Seconds of its minutes that are left, None where it has no end.
    """
    if hurried:
        return HURRIED_S
    return END_S if left_s is None else min(END_S, max(LATE_S, left_s))


class Following:
    """One follower, and the trials that it has still to log."""

    def __init__(self, follower: Follower, telling: Telling, turns: Turns = ALONE) -> None:
        """Begin to follow the study that `telling` tells of.

        Args:
            follower: Logs.
            telling: Makes plain figures of trials.
            turns: Says whether this driver logs.
        """
        self._follower, self._telling, self._turns = follower, telling, turns
        self._given: queue.Queue[list[Trial] | None] = queue.Queue()
        self._said: deque[str] = deque()
        self._logged: set[int] | None = None
        self._there: set[int] = set()
        self._held = threading.Event()
        self._waiting: deque[EndedTrial] = deque()
        self._failing = False
        self._other = self._awaited = ""
        self._seen: tuple[int, ...] = ()
        self._trials: list[Trial] = []
        self._thread = threading.Thread(target=self._follow, daemon=True, name="follower")
        self._thread.start()

    @property
    def left(self) -> int:
        """Number of the trials that are still to be logged, by this driver."""
        return 0 if self._other else len(set(self._seen) - self._there)

    def words(self, what: str) -> str:
        """Return a line about them, such as "3 trials are not logged to ...".

        Args:
            what: What they are, such as "not logged".
        """
        return f"{'1 trial is' if self.left == 1 else f'{self.left} trials are'} {what} to {self._follower.where}"

    def look(self, trials: Sequence[Trial]) -> None:
        """Take in all trials that ended so far."""
        if len(trials) != len(self._seen):
            self._seen = tuple(trial.number for trial in trials)
            self._trials = list(trials)
            self._given.put(self._trials)

    def tell(self, say: Say) -> None:
        """Say what went wrong since the last call."""
        while self._said:
            say(self._said.popleft())

    def hold(self, held: bool) -> None:
        """Have it log nothing more, once it is through with a trial, or go on."""
        if held:
            self._held.set()
        else:
            self._held.clear()
            self._given.put(self._trials)

    def is_through(self) -> bool:
        """Tell whether nothing is to be waited for: all is logged, or cannot be now."""
        return not self.left or (self._failing and self._given.empty())

    def ask_to_end(self) -> None:
        """Let it log what waits, and end."""
        self._given.put(None)

    def wait(self, seconds: float) -> bool:
        """Wait for its end; return whether it came."""
        self._thread.join(max(0.0, seconds))
        return not self._thread.is_alive()

    def leave(self) -> None:
        """Leave what is not logged to others; it has been asked to end."""
        self.hold(True)  # others may log them now
        if self.left:
            self._said.append(f"{self.words('not logged')}; the next run of this study does so")

    def _follow(self) -> None:
        known, ends = 0, False
        while not ends or (self._awaited and not self._held.is_set()):
            trials: list[Trial] | None = None
            with contextlib.suppress(queue.Empty):
                again_s = AGAIN_S if self._awaited else LOOK_S if self._other else None
                trials = self._given.get(timeout=again_s)
                ends = ends or trials is None
                while not self._given.empty() and self._given.queue[0] is not None:
                    trials = self._given.get()  # those of before are among them
            with self._trouble_told():
                if trials is not None:
                    self._waiting += self._telling.of(trials, known)
                    known = len(trials)
                self._log_waiting()
        with self._trouble_told():
            self._follower.close()

    def _log_waiting(self) -> None:
        where = self._follower.where
        while self._waiting:
            number = self._waiting[0].number
            # first it is noted that this driver logs, then looked whether it may: else it could hand over in between
            with self._turns.logging(where):
                if self._held.is_set() or not self._has_the_turn():
                    return
                if self._logged is None:
                    self._logged = set(self._follower.open(self._study()))
                    self._there |= self._logged
                if number not in self._logged:
                    self._follower.add(self._waiting[0])
                    self._logged.add(number)
                    self._there.add(number)
            self._waiting.popleft()
        if self._failing:
            self._failing = False
            self._said.append(f"trials are logged to {self._follower.where} again")

    def _has_the_turn(self) -> bool:
        before, where = self._other or self._awaited, self._follower.where
        try:
            self._other, self._awaited = self._turns.logged_by(where), ""
        except StillLogging as other:
            self._other, self._awaited, self._logged = "", str(other), None
            if self._awaited != before:
                self._said.append(f"{other} ends, and still logs a trial to {where}: waiting until it is through")
            return False
        if self._other:
            self._logged = None  # it is asked anew what is there
            if self._other != before:
                self._said.append(f"{self._other} logs the trials of this study to {where}")
        return not self._other

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

    def __init__(self, followers: Sequence[Follower], telling: Telling, say: Say, turns: Turns = ALONE) -> None:
        """Begin to follow; see `Following`."""
        self._each = [Following(follower, telling, turns) for follower in followers]
        self._say = say

    def look(self, trials: Sequence[Trial]) -> None:
        """Take in the trials that ended so far, and say what went wrong. It takes no time."""
        for each in self._each:
            each.look(trials)
            each.tell(self._say)

    @contextlib.contextmanager
    def held(self, seconds: float) -> Iterator[None]:
        """Meanwhile, log nothing: another driver may be about to. What is to be logged is waited for, some seconds."""
        until_s = time.monotonic() + seconds
        while not all(each.is_through() for each in self._each) and time.monotonic() < until_s:
            time.sleep(0.05)
        for each in self._each:
            each.hold(True)
        try:
            yield
        finally:
            for each in self._each:
                each.hold(False)

    def close(self, seconds: float) -> None:
        """Let followers log what is left, within some seconds. Where that takes longer than a moment, it is told."""
        until_s, told = time.monotonic() + seconds, False
        for each in self._each:
            each.ask_to_end()
        for each in self._each:
            if not each.wait(min(HURRIED_S, until_s - time.monotonic())):
                if each.left and not told and (left_s := until_s - time.monotonic()) >= 1:
                    self._say(f"{each.words('still being logged')}: waiting {left_s:.0f} s for that, at most")
                    told = True
                each.wait(until_s - time.monotonic())
            each.leave()
            each.tell(self._say)
