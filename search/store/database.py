"""The database of a study, be it a file in its folder or on a server: nobody else knows which."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import sqlalchemy

from ...errors import StorageError
from ..trial import Trial
from .lease_tables import Living
from .leases import Leases
from .place import check_address, new_place, note_place, read_place, without_password
from .rows import parsed
from .server import Server
from .sqlite_file import Direction, SqliteFile


class Database(Protocol):
    """Where the rows of a study lie. Rows are read and written by statements that every database takes."""

    @property
    def study(self) -> str:
        """Name of the study in it."""
        ...

    @property
    def where(self) -> str:
        """Where it lies, for messages; without any password."""
        ...

    def is_there(self) -> bool:
        """Tell whether the study has been made in it."""
        ...

    def make(self, directions: Sequence[Direction]) -> None:
        """Make the study."""
        ...

    def open(self, directions: Sequence[Direction]) -> tuple[sqlalchemy.Engine, int]:
        """Open the study for writing; return the engine, and Optuna's number of the study.

        Args:
            directions: Of its objectives.
        """
        ...

    def leases(self, directions: Sequence[Direction]) -> Leases | None:
        """Return what a driver holds of a study that several may search at once; None where one has it alone.

        Raises:
            StorageError: The database cannot be used.
        """
        ...

    def drivers(self) -> list[Living]:
        """Return the drivers that have the study open.

        Raises:
            StorageError: The database cannot be read.
        """
        ...

    def texts(self) -> list[str]:
        """Return the rows of trials that ended, in the order they did, without writing anything.

        Raises:
            StorageError: They cannot be read.
        """
        ...

    def note_ended(self, engine: sqlalchemy.Engine, study: int, numbers: Collection[int]) -> None:
        """Note for drivers that trials have ended whose rows were written while no driver had the study.

        Args:
            engine: As `open` returns it.
            study: Optuna's number of the study.
            numbers: Of all trials that have a row.
        """
        ...

    def put_aside(self) -> str:
        """Put a damaged database aside; return a line about that, empty where nothing was done.

        Raises:
            StorageError: It cannot be looked at now.
        """
        ...

    def reason(self, error: BaseException) -> str:
        """Return one line that says what is wrong with it, and what to do."""
        ...

    def is_away(self, error: BaseException) -> bool:
        """Tell whether it can be used again later."""
        ...


def database_of(folder: Path, name: str) -> Database:
    """Return the database of a study, as its folder says.

    Args:
        folder: The study's folder.
        name: Of the study.

    Raises:
        StorageError: The folder's note cannot be read.
        UsageError: The driver of its server is not installed.
    """
    place = read_place(folder)
    if place is None:
        return SqliteFile(folder, name)
    check_address(place.address)
    return Server(folder, place)


def database_for_search(folder: Path, name: str, storage: str) -> Database:
    """Return the database that a search writes to, and note it in the study's folder.

    Args:
        folder: The study's folder, which the search has alone.
        name: Of the study.
        storage: Address of a server as the user gave it; empty for what the folder says, else a file of SQLite.

    Raises:
        StorageError: The study has its rows elsewhere, or the server cannot be reached.
        UsageError: The address cannot be one, or its driver is not installed.
    """
    known = read_place(folder)
    if not storage:
        database = database_of(folder, name)
        reach(database)
        return database
    check_storage(folder, storage)
    place = new_place(folder, storage) if known is None else replace(known, address=without_password(storage))
    server = Server(folder, place, storage)
    there = reach(server)  # a server that is away is told before anything is trained
    if known is None:
        return Server(folder, note_place(folder, place), storage)
    if place != known:
        if not there:
            raise StorageError(
                f"{folder} has its trials at {known.address}, and {place.address} has no study {known.study}: leave "
                "out --storage, or copy the database there first"
            )
        note_place(folder, place, anew=True)
    return server


def check_storage(folder: Path, storage: str) -> None:
    """Refuse an address for a study that has its rows in its folder.

    Raises:
        StorageError: It has.
        UsageError: The address cannot be one, or its driver is not installed.
    """
    check_address(storage)
    if read_place(folder) is None and (folder / "study.db").exists():
        raise StorageError(
            f"{folder} was begun with its trials in study.db: leave out --storage, or begin anew with --fresh"
        )


def read_trials(folder: Path, name: str) -> list[Trial]:
    """Return the trials of a study that ended, in the order they did.

    Args:
        folder: The study's folder.
        name: Of the study.

    Raises:
        StorageError: The database is missing, or cannot be read.
    """
    database = database_of(folder, name)
    return parsed(database.where, database.texts())[0]


def reach(database: Database) -> bool:
    """Tell whether a study has been made in its database, without waiting for one that is away.

    Raises:
        StorageError: It cannot be reached.
    """
    try:
        return database.is_there()
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise StorageError(database.reason(error)) from error
