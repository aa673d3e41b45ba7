"""A study opened for a search: alone, by its folder's lock, or with other drivers, by leases on its server.

Opening makes files, whatever the database. So drivers of one study open it one after the other, and each has the
folder's lock until it is through; then leases say what is whose.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy

from ...errors import StorageError, StudyOpen
from .database import Database, check_storage, database_for_search, database_of, reach
from .lease_tables import Living
from .leases import DEAD_S, Leases
from .lock import locked
from .place import read_place
from .sqlite_file import Direction

Say = Callable[[str], None]
OPENING_S = 30.0
"""A driver that opens a shared study, and gives no sign of life for so long, is dead."""


@dataclass(frozen=True)
class Access:
    """What a search may do with its study.

    Attributes:
        database: Where the study's rows lie.
        check_held: Raises StorageError where this process must not write the study any more.
        leases: What it holds of a study that it shares; None where it has the study alone.
        release: Lets other drivers open the study, where it may be shared.
    """

    database: Database
    check_held: Callable[[], None]
    leases: Leases | None = None
    release: Callable[[], None] = lambda: None

    def others(self) -> list[Living]:
        """Return the other drivers that search the study now; none where their server is away.

        Raises:
            StorageError: It cannot be read.
        """
        if self.leases is None:
            return []
        try:
            return self.leases.others()
        except sqlalchemy.exc.SQLAlchemyError as error:
            raise StorageError(self.database.reason(error)) from error

    def logged_by(self, place: str) -> str:
        """Return, in words, the other driver that logs the study's trials to a place.

        Returns:
            The words; empty where this process does from now on.

        Raises:
            StillLogging: The one that did has left the study, and is not through with a trial.
            StorageError: The server cannot be read.
        """
        if self.leases is None:
            return ""
        try:
            return self.leases.turns.logged_by(place)
        except sqlalchemy.exc.SQLAlchemyError as error:
            raise StorageError(self.database.reason(error)) from error

    def logging(self, place: str) -> contextlib.AbstractContextManager[None]:
        """Let no other driver log to a place meanwhile, where it is this one's turn, even if this one leaves."""
        return contextlib.nullcontext() if self.leases is None else self.leases.turns.logging(place)

    def keeps(self) -> bool:
        """Tell whether this process keeps the study's files, which one driver alone does, as far as is known."""
        return self.leases is None or self.leases.keeper

    def is_last(self) -> bool:
        """Tell whether no other driver goes on with the study, and so confirms its front; this one keeps it then.

        Of several that end at once, the last one does.
        """
        if self.leases is None:
            return True
        try:
            return self.leases.is_last()
        except sqlalchemy.exc.SQLAlchemyError:
            return self.keeps()


@contextlib.contextmanager
def access_for_search(
    folder: Path,
    name: str,
    directions: Sequence[Direction],
    storage: str,
    begin: Callable[[], None],
    say: Say,
    stop: Callable[[], bool],
) -> Iterator[Access]:
    """Open a study for a search.

    Args:
        folder: The study's folder, which is there.
        name: Of the study.
        directions: Of its objectives.
        storage: Address of a server as the user gave it; empty for what the folder says.
        begin: Called as soon as nobody else opens the study, before its database is looked for.
        say: Takes a line about what is waited for.
        stop: Whether to end early.

    Raises:
        StudyOpen: Another search has the study.
        StorageError: The folder or the database cannot be used.
    """
    if storage:
        check_storage(folder, storage)  # before whoever has the study is waited for
    shared = bool(storage) or read_place(folder) is not None
    with contextlib.ExitStack() as held, contextlib.ExitStack() as turn:
        check_held = turn.enter_context(_in_turn(folder, say, stop) if shared else locked(folder))
        begin()
        database = database_for_search(folder, name, storage)
        leases = database.leases(directions)
        if leases is None:
            yield Access(database, check_held)
            return
        try:
            held.enter_context(leases.joined())
            leases.keep()
        except sqlalchemy.exc.SQLAlchemyError as error:
            raise StorageError(database.reason(error)) from error
        checks = [check_held]
        turn.callback(checks.clear)  # once others may open it, leases alone tell

        def check_both() -> None:
            for check in (*checks, leases.check_held):
                check()

        yield Access(database, check_both, leases, turn.close)


@contextlib.contextmanager
def access_alone(folder: Path, name: str) -> Iterator[Access]:
    """Open a study so that no search can have it meanwhile.

    Args:
        folder: The study's folder.
        name: Of the study.

    Raises:
        StudyOpen: A search has the study open.
        StorageError: The folder or the database cannot be used.
    """
    with locked(folder) as check_held:
        database = database_of(folder, name)
        reach(database)
        if read_place(folder) is not None and (drivers := database.drivers()):
            raise StudyOpen(f"{folder}: a search has this study open ({drivers[0].words}); wait for it")
        yield Access(database, check_held)


@contextlib.contextmanager
def _in_turn(folder: Path, say: Say, stop: Callable[[], bool]) -> Iterator[Callable[[], None]]:
    """Have a study alone for a while, as soon as whoever has it is through."""
    told = False
    with contextlib.ExitStack() as held:
        while True:
            try:
                check_held = held.enter_context(locked(folder, min(OPENING_S, DEAD_S)))
                break
            except StudyOpen:
                if stop():
                    raise
            if not told:
                say("another driver is opening this study: waiting until it is through")
                told = True
            time.sleep(0.5)
        yield check_held
