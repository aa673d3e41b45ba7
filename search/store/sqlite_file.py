"""A study's database as a file of SQLite in its folder."""

from __future__ import annotations

import contextlib
import itertools
import os
import shlex
import shutil
import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import optuna
import sqlalchemy

from ...errors import StorageError
from ...files import PARTIAL, move
from ...temporary import temporary_folder
from .lease_tables import Living
from .leases import Leases
from .lock import owner
from .rows import ATTRIBUTE, ENDED, VERSION, cause, check_tables

BUSY_S = 5.0
"""Seconds that SQLite itself waits for a lock, each time it is asked."""
READER_S = 60.0
"""Seconds for which a reader waits for a lock."""
TROUBLE = ("locked", "disk I/O error", "unable to open", "disk is full", "out of memory")
"""What SQLite says of a database that cannot be read now, though nothing may be wrong with it."""
Direction = Literal["maximize", "minimize"]


class SqliteFile:
    """A database in a study's folder; see `database.Database`.

    Attributes:
        path: Where it lies.
        study: Name of the study in it.
    """

    def __init__(self, folder: Path, study: str) -> None:
        """Take the database of a folder, be it there or not.

        Args:
            folder: The study's folder.
            study: Name of the study.
        """
        self.path, self.study = folder / "study.db", study

    @property
    def where(self) -> str:
        """Where it lies, for messages."""
        return str(self.path)

    def is_there(self) -> bool:
        """Tell whether it was made."""
        return self.path.exists()

    def make(self, directions: Sequence[Direction]) -> None:
        """Make it, whole or not at all: Optuna makes its tables one by one, over a second."""
        beside = self.path.with_name(f"{PARTIAL}{self.path.name}")
        for each in (self.path, beside):  # what is left of others would be taken for a transaction of this one
            for end in ("-journal", "-wal", "-shm"):
                each.with_name(each.name + end).unlink(missing_ok=True)
        beside.unlink(missing_ok=True)
        engine, _ = _with_study(beside, self.study, directions, "rwc")
        engine.dispose()
        move(beside, self.path)

    def open(self, directions: Sequence[Direction]) -> tuple[sqlalchemy.Engine, int]:
        """Open it. One that is gone for a moment, as on a network's disk, is never made anew."""
        with contextlib.closing(_connector(self.path, "rw")()) as connection:
            check_version(self.path, connection)
            # no log beside the file: a copy of it is whole, and a network's disk can hold it
            connection.execute("PRAGMA journal_mode=DELETE")
        return _with_study(self.path, self.study, directions, "rw")

    def leases(self, directions: Sequence[Direction]) -> Leases | None:
        """Return None: the folder's lock lets one driver alone write a file."""
        return None

    def drivers(self) -> list[Living]:
        """Return the driver that has the study open, if any has."""
        known = owner(self.path.parent)
        if not {"process", "name"} <= known.keys():
            return []
        return [Living("", str(known["name"]), int(known["process"]), keeper=True)]

    def texts(self) -> list[str]:
        """Return the rows of trials that ended, in the order they did, without writing anything.

        A study may lie on a read-only disk.

        Raises:
            StorageError: The database is missing, or cannot be read.
        """
        if not self.path.exists():
            raise StorageError(
                f"{self.path}: is missing, though there is a study; restore it from a copy, or make it anew from the "
                f"trials' own files: autocompress repair {shlex.quote(str(self.path.parent))}"
            )
        try:
            with _opened(self.path) as connection:
                check_version(self.path, connection)
                rows = connection.execute(ENDED, {"name": self.study, "key": ATTRIBUTE})
                return [text for (text,) in rows]
        except sqlite3.Error as error:
            raise StorageError(reason(self.path, error)) from error

    def note_ended(self, engine: sqlalchemy.Engine, study: int, numbers: Collection[int]) -> None:
        """Do nothing: no drivers share a file."""

    def put_aside(self) -> str:
        """Put a database that cannot be used aside; return a line about that, empty where nothing was done.

        Raises:
            StorageError: It is locked, out of reach or of a later version: nothing may be wrong with it.
        """
        path = self.path
        if not path.exists() or is_sound(path):
            return ""
        aside = next(a for i in itertools.count(1) if not (a := path.with_name(f"study.damaged-{i}.db")).exists())
        path.replace(aside)
        for beside in path.parent.glob("study.db-*"):
            beside.replace(beside.with_name(beside.name.replace("study.db", aside.name)))
        return f"{path}: cannot be used; kept as {aside.name}"

    def reason(self, error: BaseException) -> str:
        """Return one line that says what is wrong with it, and what to do."""
        return reason(self.path, error)

    def is_away(self, error: BaseException) -> bool:
        """Tell whether it can be used again later: it is locked, or out of reach."""
        text = cause(error)
        return "locked" in text or "unable to open" in text or not self.path.exists()


def is_sound(path: Path) -> bool:
    """Tell whether all of a database can be read.

    Raises:
        StorageError: It is locked, out of reach or of a later version: nothing may be wrong with it.
    """
    try:
        with _opened(path) as connection:
            check_version(path, connection)
            connection.execute("SELECT count(*) FROM trials, studies").fetchone()
            found = connection.execute("PRAGMA quick_check(1)").fetchone()
        return found is not None and found[0] == "ok"
    except sqlite3.Error as error:
        if any(words in cause(error) for words in TROUBLE):
            raise StorageError(reason(path, error)) from error
        return False


def address(path: Path, how: str) -> str:
    """Return SQLite's name of a file, with how to open it, such as "mode=ro"; any character may be in a path."""
    return f"file:{quote(os.fsencode(path.absolute()))}?{how}"


def check_version(path: Path, connection: sqlite3.Connection) -> None:
    """Refuse a database of tables that the installed Optuna does not know.

    Raises:
        StorageError: A later version wrote it.
        sqlite3.Error: It is no database of Optuna's.
    """
    written = connection.execute(VERSION).fetchone()
    check_tables(str(path), None if written is None else written[0])


def reason(path: Path, error: BaseException) -> str:
    """Return one line that says what is wrong with a database, and what to do."""
    text = cause(error)
    if "disk is full" in text or "No space left" in text:
        return f"{path}: the disk is full; free some space and run the same command again"
    if "disk I/O error" in text:
        return f"{path}: the disk gives an error ({text}); check it and run the same command again"
    if "locked" in text:
        return f"{path}: locked by another program (a viewer, a backup?); end that and run the same command again"
    if "unable to open" in text or "out of memory" in text:
        return (
            f"{path}: cannot be opened now ({text}); see that you may read it, and that memory is left, and run the "
            "same command again"
        )
    if "readonly" in text:
        return f"{path}: cannot be written ({text}); copy the study to where it can"
    return (
        f"{path}: not a usable study database ({text}); restore it, make it anew from the trials' own files with "
        f"`autocompress repair {shlex.quote(str(path.parent))}`, or start anew with --fresh"
    )


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    how = _way(path)
    if how is not None:
        connection = sqlite3.connect(address(path, how), uri=True, timeout=READER_S)
        try:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.OperationalError as error:
            connection.close()
            if "locked" in str(error):
                raise
            how = None  # a transaction that a killed process left has to be undone before anything can be read
        else:
            with contextlib.closing(connection):
                yield connection
            return
    with temporary_folder() as folder:
        for each in (path, *(_beside(path, what) for what in ("-wal", "-journal"))):
            if each.exists():
                shutil.copyfile(each, folder / each.name)
        with contextlib.closing(sqlite3.connect(folder / path.name)) as connection:
            yield connection


def _way(path: Path) -> str | None:
    """Return how a database is opened so that nothing is written beside it; None where only a copy can be opened."""
    if not _has_log(path):
        return "mode=ro"
    log = _beside(path, "-wal")  # of an earlier version of AutoCompress
    if not log.exists() or log.stat().st_size == 0:
        return "mode=ro&immutable=1"
    return "mode=ro" if _beside(path, "-shm").exists() else None


def _has_log(path: Path) -> bool:
    # bytes 18 and 19 of the header: SQLite's file format, "write-ahead log"
    handle = os.open(path, os.O_RDONLY)
    try:
        return os.read(handle, 20)[18:20] == b"\2\2"
    finally:
        os.close(handle)


def _beside(path: Path, what: str) -> Path:
    return path.with_name(path.name + what)


def _with_study(path: Path, name: str, directions: Sequence[Direction], mode: str) -> tuple[sqlalchemy.Engine, int]:
    storage = optuna.storages.RDBStorage("sqlite:///study.db", engine_kwargs={"creator": _connector(path, mode)})
    study = optuna.create_study(study_name=name, storage=storage, directions=directions, load_if_exists=True)
    return storage.engine, study._study_id


def _connector(path: Path, mode: str) -> Callable[[], sqlite3.Connection]:
    def connect() -> sqlite3.Connection:
        return sqlite3.connect(address(path, f"mode={mode}"), uri=True, timeout=BUSY_S, check_same_thread=False)

    return connect
