"""The drivers that share a study on a server: who lives, who tries which trial, and who keeps the study's files.

Each driver has a row that it renews, by the server's clock, and each trial that has begun has a row that says whose it
is. What is changed is changed while the study's own row is held, so that of several drivers one comes first. What a
driver left that died is taken over by one other.
"""

from __future__ import annotations

import contextlib
import os
import platform
import secrets
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

import sqlalchemy

from ...errors import StorageError
from .insert import FIRST
from .lease_tables import DRIVERS, TRIALS, Living, digest_of
from .turns import LoggingTurns

DEAD_S = float(os.environ.get("AUTOCOMPRESS_LEASE_S", "90"))
"""A driver that has given no sign of life for so long, by the server's clock, is dead."""
BEAT_S = DEAD_S * 20 / 90
"""Seconds between two signs of life."""


class Leases:
    """What one driver holds of a study.

    Attributes:
        turns: At logging its trials elsewhere.
    """

    def __init__(self, engine: sqlalchemy.Engine, study: int, where: str) -> None:
        """Hold nothing yet.

        Args:
            engine: Of the database, which has the tables.
            study: Optuna's number of the study.
            where: The database, for messages.
        """
        self._engine, self._study, self._where = engine, study, where
        self._driver = secrets.token_hex(8)
        self._lost, self._done = threading.Event(), threading.Event()
        self._steady_s = float("-inf")
        self._keeper = False
        self.turns = LoggingTurns(
            self._driver,
            study,
            self._first,
            lambda connection, table: living(connection, study, table),
            lambda: self._is_steady,
            lambda: BEAT_S,
        )

    @contextlib.contextmanager
    def joined(self) -> Iterator[Leases]:
        """Be one of the study's drivers. Afterwards all that is held is free, for others or for the next run."""
        with self._engine.begin() as connection:
            row = {"driver": self._driver, "study_id": self._study, "host": platform.node()[:255]}
            row |= {"process": os.getpid(), "beat": sqlalchemy.func.current_timestamp(), "keeper": False}
            connection.execute(DRIVERS.insert().values(row))
        beat = threading.Thread(target=self._beat, daemon=True, name="study-lease")
        beat.start()
        try:
            yield self
        finally:
            self._done.set()
            beat.join(1.0)
            with contextlib.suppress(sqlalchemy.exc.SQLAlchemyError):  # a server that is away finds it dead later
                self._leave()

    def check_held(self) -> None:
        """Refuse to go on once others have taken this driver for dead, because it stood still.

        Raises:
            StorageError: They have.
        """
        if self._lost.is_set():
            raise StorageError(
                f"{self._where}: other drivers took this search for dead, which stood still or was cut off from the "
                f"server for more than {DEAD_S:.0f} s: they go on with its trials; run the same command again to join"
            )

    def others(self) -> list[Living]:
        """Return the other drivers of the study that live."""
        with self._engine.connect() as connection:
            return [each for each in living(connection, self._study) if each.driver != self._driver]

    def keep(self) -> bool:
        """Tell whether this driver keeps the study's files; it does from now on where no other does."""
        if not self._keeper and self._is_steady:
            with self._first() as connection:
                keeps = not any(each.keeper for each in living(connection, self._study))
                if keeps:
                    keeps = connection.execute(self._own(DRIVERS.update()).values(keeper=True)).rowcount > 0
            self._keeper = keeps
        return self._keeper and not self._lost.is_set()

    def is_last(self) -> bool:
        """Tell whether no other driver goes on with the study; where one does, this one leaves the study to it."""
        with self._first() as connection:
            others = [each for each in living(connection, self._study) if each.driver != self._driver]
            if others:
                self._let_go(connection)
            else:
                self._keeper = connection.execute(self._own(DRIVERS.update()).values(keeper=True)).rowcount > 0
        self._keeper = self._keeper and not others
        return not others

    @property
    def keeper(self) -> bool:
        """Whether this driver keeps the study's files, as far as it knows."""
        return self._keeper and not self._lost.is_set()

    def claim(self, plan: str, known: Collection[int], record: Callable[[int], str], least: int) -> int | None:
        """Take a number for a new trial; None where another driver tries its plan, or has just tried it.

        Args:
            plan: What it is known by.
            known: Numbers of the trials that this driver knows the ends of.
            record: Returns how the trial with a number begins, as text.
            least: What the number is at least.

        Raises:
            StorageError: Others took this driver for dead.
        """
        digest = digest_of(plan)
        with self._first() as connection:
            if connection.execute(self._own(sqlalchemy.select(DRIVERS.c.driver))).first() is None:
                self._lost.set()
            self.check_held()
            if self._is_tried(connection, digest, known):
                return None
            last = connection.execute(sqlalchemy.select(sqlalchemy.func.max(TRIALS.c.number)).where(*self._here))
            number = max(least, 1 + (last.scalar() or 0))
            row = {"number": number, "driver": self._driver, "plan": digest, "record": record(number), "ended": False}
            connection.execute(TRIALS.insert().values(study_id=self._study, **row))
        return number

    def claim_plan(self, number: int, plan: str, known: Collection[int]) -> bool:
        """Let a trial of this driver be known by another plan; return False where another driver tries that.

        Args:
            number: Of the trial.
            plan: What the plan is known by.
            known: Numbers of the trials that this driver knows the ends of.
        """
        digest = digest_of(plan)
        with self._first() as connection:
            if self._is_tried(connection, digest, known):
                return False
            own = (*self._here, TRIALS.c.number == number, TRIALS.c.driver == self._driver)
            connection.execute(TRIALS.update().where(*own).values(plan=digest))
        return True

    def note(self, number: int, record: str) -> None:
        """Note how a trial of this driver stands, for the others; a server that is away learns it later."""
        own = (*self._here, TRIALS.c.number == number, TRIALS.c.driver == self._driver)
        with contextlib.suppress(sqlalchemy.exc.SQLAlchemyError), self._engine.begin() as connection:
            connection.execute(TRIALS.update().where(*own).values(record=record))

    def adopt(self, numbers: Collection[int]) -> None:
        """Take trials that nobody ever claimed, as those of a study whose rows were lost."""
        with self._first() as connection:
            known = set(connection.execute(sqlalchemy.select(TRIALS.c.number).where(*self._here)).scalars())
            row = {"study_id": self._study, "driver": self._driver, "plan": "", "record": "", "ended": False}
            if new := [{**row, "number": number} for number in sorted(set(numbers) - known)]:
                connection.execute(TRIALS.insert(), new)

    def end(self, connection: sqlalchemy.Connection, number: int) -> None:
        """Note in a transaction that a trial of this driver has ended.

        Raises:
            StorageError: It is not this driver's any more.
        """
        own = (*self._here, TRIALS.c.number == number, TRIALS.c.driver == self._driver)
        if not connection.execute(TRIALS.update().where(*own).values(ended=True)).rowcount:
            self._lost.set()
            self.check_held()

    def own(self) -> set[int]:
        """Return the numbers of the trials of this driver that have not ended."""
        with self._engine.connect() as connection:
            mine = (*self._here, TRIALS.c.driver == self._driver, ~TRIALS.c.ended)
            return set(connection.execute(sqlalchemy.select(TRIALS.c.number).where(*mine)).scalars())

    def running(self) -> dict[int, str]:
        """Return the trials that others have begun: number -> how each stood last, as text."""
        others = (*self._here, ~TRIALS.c.ended, TRIALS.c.driver != self._driver)
        with self._engine.connect() as connection:
            return _by_number(connection.execute(sqlalchemy.select(TRIALS.c.number, TRIALS.c.record).where(*others)))

    def take_over(self) -> dict[int, str]:
        """Take the trials that a driver left which ended or died: number -> how each stood last, as text.

        Nobody counts as dead while this driver itself was cut off from the server: others may have been, too.
        """
        with self._first() as connection:
            if connection.execute(self._own(sqlalchemy.select(DRIVERS.c.driver))).first() is None:
                return {}
            alive = {each.driver for each in living(connection, self._study)} | {self._driver}
            free: sqlalchemy.ColumnElement[bool] = TRIALS.c.driver.is_(None)
            if self._is_steady:
                gone = (DRIVERS.c.study_id == self._study, DRIVERS.c.driver.not_in(alive))
                connection.execute(DRIVERS.delete().where(*gone))
                free = free | TRIALS.c.driver.not_in(alive)
            where = (*self._here, ~TRIALS.c.ended, free)
            found = _by_number(connection.execute(sqlalchemy.select(TRIALS.c.number, TRIALS.c.record).where(*where)))
            if found:
                connection.execute(TRIALS.update().where(*where).values(driver=self._driver))
        return found

    @property
    def _is_steady(self) -> bool:
        """Whether others that seem dead are: they may have been cut off from the server as this driver was."""
        return time.monotonic() - self._steady_s >= DEAD_S

    @property
    def _here(self) -> tuple[sqlalchemy.ColumnElement[bool]]:
        return (TRIALS.c.study_id == self._study,)

    def _is_tried(self, connection: sqlalchemy.Connection, digest: str, known: Collection[int]) -> bool:
        """Tell whether another driver tries a plan, or ended it just now."""
        same = sqlalchemy.select(TRIALS.c.number, TRIALS.c.driver).where(*self._here, TRIALS.c.plan == digest)
        return any(d != self._driver and number not in known for number, d in connection.execute(same))

    def _own(self, statement: Any) -> Any:
        return statement.where(DRIVERS.c.driver == self._driver)

    @contextlib.contextmanager
    def _first(self) -> Iterator[sqlalchemy.Connection]:
        """Give a transaction in which no other driver changes anything."""
        with self._engine.begin() as connection:
            connection.execute(FIRST, {"study": self._study})
            yield connection

    def _leave(self) -> None:
        with self._first() as connection:
            self._let_go(connection)

    def _let_go(self, connection: sqlalchemy.Connection) -> None:
        mine = (*self._here, TRIALS.c.driver == self._driver, ~TRIALS.c.ended)
        connection.execute(TRIALS.update().where(*mine).values(driver=None))
        self.turns.leave(connection)
        connection.execute(self._own(DRIVERS.delete()))

    def _beat(self) -> None:
        while not self._done.wait(BEAT_S):
            try:
                with self._engine.begin() as connection:
                    beat = self._own(DRIVERS.update()).values(beat=sqlalchemy.func.current_timestamp())
                    found = connection.execute(beat).rowcount
            except sqlalchemy.exc.SQLAlchemyError:
                self._steady_s = float("inf")
                continue
            if not found:
                self._lost.set()
                return
            if self._steady_s == float("inf"):
                self._steady_s = time.monotonic()


def living(connection: sqlalchemy.Connection, study: int, table: sqlalchemy.Table = DRIVERS) -> list[Living]:
    """Return the drivers of a study that live, by the server's clock.

    Args:
        connection: To a database that has the tables.
        study: Optuna's number of the study.
        table: In which of them.
    """
    columns = (table.c.driver, table.c.host, table.c.process, table.c.keeper, table.c.beat)
    rows = sqlalchemy.select(*columns, sqlalchemy.func.current_timestamp()).where(table.c.study_id == study)
    return [
        Living(driver, host, process, bool(keeper))
        for driver, host, process, keeper, beat, now in connection.execute(rows)
        if (now - beat).total_seconds() < DEAD_S
    ]


def _by_number(rows: Iterable[Sequence[Any]]) -> dict[int, str]:
    return {int(number): str(record) for number, record in rows}
