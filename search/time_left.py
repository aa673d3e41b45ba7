"""What still comes to its end in the time that is left of a search."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .pace import Pace
from .propose.proposal import Proposal
from .propose.proposer import Proposer
from .trial import Trial
from .waiting import WaitingRoom


class TimeLeft:
    """Asks for nothing that could not be finished."""

    def __init__(self, pace: Pace, room: WaitingRoom, proposer: Proposer) -> None:
        """Ask `proposer`.

        Args:
            pace: When the run ends.
            room: Knows what students take.
            proposer: Says what is tried next.
        """
        self._pace, self._room, self._proposer = pace, room, proposer

    def too_late(self, ended: Sequence[Trial]) -> bool:
        """Tell whether a new student could not be trained to its end; what every study begins with always may."""
        left_s = self._pace.time_left_s()
        if left_s is None or self._proposer.opening:
            return False
        return left_s < self._room.seconds_of_a_trial(ended)

    def next_waiting(self, ended: Sequence[Trial], running: Sequence[Trial], exhausted: bool) -> Trial | None:
        """Take out the waiting student that should go on, if one should.

        After a number of trials that was asked for, only students among the best go on. Where nothing new can be
        drawn, or comes too late, any student may use the time.

        Args:
            ended: Trials that ended.
            running: Trials that run.
            exhausted: Whether nothing new can be drawn.
        """
        left_s = self._pace.time_left_s() if self.too_late(ended) else None
        if exhausted:
            left_s = math.inf if (known_s := self._pace.time_left_s()) is None else known_s
        return self._room.next(ended, running, left_s)

    def last_proposal(self, ended: Sequence[Trial]) -> Proposal | None:
        """Return a plan that shares a training, where there is time for its file; None where nothing is worth it."""
        left_s = self._pace.time_left_s()
        fits = left_s is None or left_s > self._room.seconds_to_build(ended)
        return self._proposer.share(late=True) if fits else None
