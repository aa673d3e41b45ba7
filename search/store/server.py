"""A study's database on a server that Optuna knows, such as PostgreSQL."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from sqlalchemy import text

from ...errors import StorageError
from .lease_tables import DRIVERS, TABLES, TRIALS, Living
from .leases import Leases, living
from .place import Place, passwords
from .rows import ATTRIBUTE, ENDED, VERSION, cause, check_tables
from .sqlite_file import Direction

CONNECT_S = 10
"""Seconds that a connection may take to be made."""
SILENT_S = 30
"""Seconds after which a server that does not answer any more counts as gone."""
LIBPQ = ("psycopg", "psycopg2", "psycopg_async")
"""Drivers that take libpq's settings."""
REFUSED = ("authentication failed", "pg_hba.conf", "does not exist", "permission denied", "no password supplied")
"""What a server says that is there and lets nobody in: waiting changes nothing."""
FIRST = text("SELECT pg_advisory_xact_lock(hashtext('autocompress.tables'))")
THERE = text("SELECT study_id FROM studies WHERE study_name = :name")


class Server:
    """A study on a database server; see `database.Database`.

    Attributes:
        study: Name of the study there.
    """

    def __init__(self, folder: Path, place: Place, given: str = "") -> None:
        """Take the database of a study, be it there or not.

        Args:
            folder: The study's folder.
            place: Where its rows lie.
            given: The address as the user gave it, with a password; else passwords are what the driver finds, such as
                PGPASSWORD or ~/.pgpass.
        """
        self.study, self._folder, self._place = place.study, folder, place
        self._url = sqlalchemy.make_url(given or place.address)
        self._secrets = passwords(given) if given else []
        self._opened: tuple[sqlalchemy.Engine, int] | None = None

    @property
    def where(self) -> str:
        """Where it lies, for messages."""
        return self._place.address

    def is_there(self) -> bool:
        """Tell whether it has the study."""
        with self._connected() as connection:
            return _study(connection, self.study) is not None

    def make(self, directions: Sequence[Direction]) -> None:
        """Make the study, with Optuna's tables where there are none."""
        self.open(directions)

    def open(self, directions: Sequence[Direction]) -> tuple[sqlalchemy.Engine, int]:
        """Open the study, and make it where it is missing."""
        if self._opened is None:
            optuna.logging.set_verbosity(optuna.logging.ERROR)
            with self._connected() as connection:
                if self._url.get_backend_name() == "postgresql":
                    connection.execute(FIRST)  # of several that make the tables at once, one does
                _check(connection, self.where)
                address = self._url.render_as_string(hide_password=False)
                storage = optuna.storages.RDBStorage(address, engine_kwargs=self._settings(pool_pre_ping=True))
                study = optuna.create_study(
                    study_name=self.study, storage=storage, directions=directions, load_if_exists=True
                )
                TABLES.create_all(connection)
                connection.commit()
            self._opened = storage.engine, study._study_id
        return self._opened

    def leases(self, directions: Sequence[Direction]) -> Leases | None:
        """Return what a driver holds of the study, which several may search at once.

        Raises:
            StorageError: The server cannot be used.
        """
        try:
            return Leases(*self.open(directions), self.where)
        except StorageError:
            raise
        except Exception as error:  # Optuna hides what SQLAlchemy says in errors of its own
            raise StorageError(self.reason(error)) from error

    def drivers(self) -> list[Living]:
        """Return the drivers that have the study open.

        Raises:
            StorageError: The server is away.
        """
        try:
            with self._connected() as connection:
                study = _study(connection, self.study)
                if study is None or not sqlalchemy.inspect(connection).has_table(DRIVERS.name):
                    return []
                return living(connection, study)
        except sqlalchemy.exc.SQLAlchemyError as error:
            raise StorageError(self.reason(error)) from error

    def texts(self) -> list[str]:
        """Return the rows of trials that ended, in the order they did, without writing anything.

        Raises:
            StorageError: The server is away, or does not have the study.
        """
        try:
            with self._connected() as connection:
                _check(connection, self.where)
                if _study(connection, self.study) is None:
                    raise StorageError(self._missing())
                return list(connection.execute(text(ENDED), {"name": self.study, "key": ATTRIBUTE}).scalars())
        except sqlalchemy.exc.SQLAlchemyError as error:
            raise StorageError(self.reason(error)) from error

    def note_ended(self, engine: sqlalchemy.Engine, study: int, numbers: Collection[int]) -> None:
        """Note for drivers that trials have ended whose rows were written while no driver had the study."""
        here = TRIALS.c.study_id == study
        with engine.begin() as connection:
            found = set(connection.execute(sqlalchemy.select(TRIALS.c.number).where(here, ~TRIALS.c.ended)).scalars())
            if over := sorted(found & set(numbers)):
                connection.execute(TRIALS.update().where(here, TRIALS.c.number.in_(over)).values(ended=True))

    def put_aside(self) -> str:
        """Do nothing: a server sees to its files itself, and rows that are missing are made anew."""
        return ""

    def reason(self, error: BaseException) -> str:
        """Return one line that says what is wrong with it, and what to do, without any password."""
        said = cause(error)
        for each in self._secrets:
            said = said.replace(each, "***")
        if _is_operational(error) and any(words in said for words in REFUSED):
            return (
                f"{self.where}: the server lets nobody in ({said}); see that the database is there and you may use it. "
                "A password is taken from the address that --storage gives, from PGPASSWORD or from ~/.pgpass"
            )
        if self.is_away(error):
            return f"{self.where}: cannot be reached ({said}); see that the server runs, and run the same command again"
        return (
            f"{self.where}: cannot be used ({said}); see what is wrong with it, or make the study's rows anew from the "
            f"trials' own files: autocompress repair {shlex.quote(str(self._folder))}"
        )

    def is_away(self, error: BaseException) -> bool:
        """Tell whether it can be used again later: it is out of reach, or has too much to do."""
        return _is_operational(error) and not any(words in cause(error) for words in REFUSED)

    def _missing(self) -> str:
        return (
            f"{self.where}: has no study {self.study}, though {self._folder} says so; restore it from a copy, or make "
            f"it anew from the trials' own files: autocompress repair {shlex.quote(str(self._folder))}"
        )

    def _settings(self, **more: Any) -> dict[str, Any]:
        """Return what an engine is made with: a server that is silent must not hold a search for ever."""
        if self._url.get_driver_name() not in LIBPQ:
            return more
        wanted: dict[str, Any] = {
            "connect_timeout": CONNECT_S,
            "keepalives_idle": SILENT_S,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "tcp_user_timeout": 1000 * SILENT_S,
        }
        return {"connect_args": {k: v for k, v in wanted.items() if k not in self._url.query}, **more}

    @contextlib.contextmanager
    def _connected(self) -> Iterator[sqlalchemy.Connection]:
        """Give a connection that is closed afterwards, and nothing is left open that a killed process would hold."""
        engine = sqlalchemy.create_engine(self._url, **self._settings(poolclass=sqlalchemy.NullPool))
        with engine.connect() as connection:
            yield connection


def _study(connection: sqlalchemy.Connection, name: str) -> int | None:
    if not sqlalchemy.inspect(connection).has_table("studies"):
        return None
    found: int | None = connection.execute(THERE, {"name": name}).scalar()
    return found


def _check(connection: sqlalchemy.Connection, where: str) -> None:
    """Refuse tables of a later version of Optuna.

    Raises:
        StorageError: They are.
    """
    if sqlalchemy.inspect(connection).has_table("alembic_version"):
        check_tables(where, connection.execute(text(VERSION)).scalar())


def _is_operational(error: BaseException) -> bool:
    """Tell whether this is of the server or the way to it, rather than of what was asked."""
    kinds = (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError, sqlalchemy.exc.TimeoutError)
    chain: BaseException | None = error
    while chain is not None:
        if isinstance(chain, kinds) or (isinstance(chain, sqlalchemy.exc.DBAPIError) and chain.connection_invalidated):
            return True
        chain = chain.__cause__
    return False
