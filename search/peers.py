"""The other drivers of a study: what they ended, what they try, and what they left."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Sequence

import sqlalchemy

from ..spaces.plain import from_plain
from .knowledge import Knowledge
from .propose.proposer import Proposer
from .store.trials import TrialStore
from .trial import Trial, TrialState
from .waiting import WaitingRoom

LOOK_S, LATER_S = 2.0, 15.0
"""Seconds between two looks at what others do; and after one that failed, as their server is away."""


class Peers:
    """Takes in what the other drivers of a study do, and goes on with what they left.

    Attributes:
        running: What they tried at the last look, as it stood then.
    """

    def __init__(self, store: TrialStore, knowledge: Knowledge, proposer: Proposer, room: WaitingRoom) -> None:
        """Look at nothing yet; where a driver has the study alone, there is never anything to see.

        Args:
            store: The study's trials.
            knowledge: Takes in trials that others ended.
            proposer: Does not propose what others try, and proposes again what others left.
            room: Takes in the students that waited at a driver that ended or died.
        """
        self._store, self._leases = store, store.leases
        self._knowledge, self._proposer, self._room = knowledge, proposer, room
        self._not_before_s = float("-inf")
        self._records: dict[str, Trial] = {}
        self.running: Sequence[Trial] = ()

    def hear(self) -> None:
        """Take in the trials that others have ended since, and nothing else."""
        if self._leases is not None:
            with contextlib.suppress(sqlalchemy.exc.SQLAlchemyError):
                for trial in self._store.news():
                    self._knowledge.hear(trial)

    def meet(self) -> bool:
        """Look at what is new, unless that was done a moment ago; a server that is away costs nothing.

        Returns:
            Whether there is more to try than before, as a driver left it.

        Raises:
            StorageError: Others took this driver for dead.
        """
        if self._leases is None or time.monotonic() < self._not_before_s:
            return False
        self._leases.check_held()
        try:
            self._leases.keep()
            running = self._leases.running()
            ended = self._store.news()
            left = self._store.left()  # last: what is taken over has to be gone on with
        except sqlalchemy.exc.SQLAlchemyError:
            self._not_before_s = time.monotonic() + LATER_S
            return False
        self._not_before_s = time.monotonic() + LOOK_S
        over = {trial.number for trial in (*left, *ended)}
        texts = [text for number, text in running.items() if text and number not in over]
        self._records = {text: known for text in texts if (known := self._records.get(text) or _read(text)) is not None}
        self.running = tuple(self._records.values())
        for trial in (*(t for t in left if t.state.ended), *ended):
            self._knowledge.hear(trial)
        self._proposer.others_try(self.running)
        for trial in left:
            if trial.state is TrialState.WAITING:
                self._room.enter(trial)
                self._knowledge.remember(trial)
            elif not trial.state.ended:
                self._proposer.take_up([trial])
        return any(not trial.state.ended for trial in left)


def _read(record: str) -> Trial | None:
    """Return a trial as another driver noted it; None where a version of another form did."""
    try:
        return from_plain(Trial, json.loads(record))
    except (ValueError, TypeError):
        return None
