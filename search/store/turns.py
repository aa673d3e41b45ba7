"""Whose turn it is to log a study's trials to a place, of several drivers that were asked to."""

from __future__ import annotations

import contextlib
import os
import platform
import threading
import time
from collections.abc import Callable, Iterator

import sqlalchemy

from .lease_tables import DRIVERS, LEAVING, LOGGED, Living, digest_of

Alive = Callable[[sqlalchemy.Connection, sqlalchemy.Table], list[Living]]
"""Returns the drivers of the study in a table that give signs of life."""
First = Callable[[], contextlib.AbstractContextManager[sqlalchemy.Connection]]
"""Gives a transaction in which no other driver changes anything."""


class StillLogging(Exception):
    """Another driver has left the study, and is in the midst of logging a trial. Its message says who it is."""


class LoggingTurns:
    """What one driver has of the places that it was asked to log to.

    It keeps a turn until it is through with a trial, also where it leaves the study meanwhile: if another driver went
    on before, both might log that trial. Where its process ends, its signs of life do, and the turn is free.
    """

    def __init__(
        self,
        driver: str,
        study: int,
        first: First,
        alive: Alive,
        is_steady: Callable[[], bool],
        beat_s: Callable[[], float],
    ) -> None:
        """Log nothing yet.

        Args:
            driver: What this driver is known by.
            study: Optuna's number of the study.
            first: See `First`.
            alive: See `Alive`.
            is_steady: Tells whether others that seem dead are.
            beat_s: Returns the seconds between two signs of life.
        """
        self._driver, self._study, self._first, self._alive = driver, study, first, alive
        self._is_steady, self._beat_s = is_steady, beat_s
        self._lock = threading.Lock()
        self._busy: set[str] = set()
        self._leaves = False

    def logged_by(self, place: str) -> str:
        """Return, in words, the other driver that logs the study's trials to a place.

        Returns:
            The words; empty where this driver does from now on, until it ends.

        Raises:
            StillLogging: The one that did has left the study, and is not through with a trial.
        """
        here = (LOGGED.c.study_id == self._study, LOGGED.c.place == digest_of(place))
        with self._first() as connection:
            leaving = {each.driver: each for each in self._alive(connection, LEAVING)}
            alive = {each.driver: each for each in self._alive(connection, DRIVERS)}
            who = connection.execute(sqlalchemy.select(LOGGED.c.driver).where(*here)).scalar()
            if who == self._driver and who in alive:
                return ""
            if who in leaving and who not in alive and who != self._driver:
                raise StillLogging(leaving[who].words)
            if who in alive or self._driver not in alive or (who is not None and not self._is_steady()):
                return alive[who].words if who in alive else "another driver"
            connection.execute(LOGGED.delete().where(*here))
            connection.execute(LEAVING.delete().where(LEAVING.c.driver == who))
            row = {"study_id": self._study, "place": digest_of(place), "driver": self._driver}
            connection.execute(LOGGED.insert().values(row))
        return ""

    @contextlib.contextmanager
    def logging(self, place: str) -> Iterator[None]:
        """Keep the turn at a place meanwhile, also where this driver leaves the study."""
        with self._lock:
            self._busy.add(place)
        try:
            yield
        finally:
            with self._lock:
                self._busy.discard(place)
                leaves = self._leaves
            if leaves:
                with contextlib.suppress(sqlalchemy.exc.SQLAlchemyError), self._first() as connection:
                    self.leave(connection)

    def leave(self, connection: sqlalchemy.Connection) -> None:
        """Let go of the turns, as this driver leaves the study; of those that it uses, once it is through."""
        with self._lock:
            busy, begun, self._leaves = sorted(map(digest_of, self._busy)), self._leaves, bool(self._busy)
        own = LOGGED.c.driver == self._driver
        connection.execute(LOGGED.delete().where(own, LOGGED.c.place.not_in(busy)))
        connection.execute(LEAVING.delete().where(LEAVING.c.driver == self._driver))
        if busy:
            row = {"driver": self._driver, "study_id": self._study, "host": platform.node()[:255]}
            row |= {"process": os.getpid(), "beat": sqlalchemy.func.current_timestamp(), "keeper": False}
            connection.execute(LEAVING.insert().values(row))
            if not begun:
                threading.Thread(target=self._beat, daemon=True, name="logging-turn").start()

    def _beat(self) -> None:
        while True:
            time.sleep(self._beat_s())
            with self._lock:
                if not self._leaves:
                    return
            beat = LEAVING.update().where(LEAVING.c.driver == self._driver)
            with contextlib.suppress(sqlalchemy.exc.SQLAlchemyError), self._first() as connection:
                connection.execute(beat.values(beat=sqlalchemy.func.current_timestamp()))
