"""The rows of a study's database, read without writing anything: a study may lie on a read-only disk."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import optuna

from ...errors import StorageError, one_line
from ...remarks import remark
from ...spaces.plain import from_plain
from ...temporary import temporary_folder
from ..trial import Trial

ATTRIBUTE = "trial"
ENDED = (
    "SELECT a.value_json FROM trial_user_attributes AS a JOIN trials AS t ON t.trial_id = a.trial_id "
    "JOIN studies AS s ON s.study_id = t.study_id WHERE s.study_name = :name AND a.key = :key ORDER BY t.number"
)
"""Reads trials from Optuna's tables. Optuna's own reader makes every parameter of theirs anew: 5,000 trials took it 10
seconds, and this 2."""
PLACES = ENDED.replace("SELECT ", "SELECT t.trial_id, ", 1)
"""The same with Optuna's number of each trial."""
PATIENCE_S = 60.0
"""How long a database that somebody else has locked is waited for."""
TROUBLE = ("locked", "disk I/O error", "unable to open", "disk is full", "out of memory")
"""What SQLite says of a database that cannot be read now, though nothing may be wrong with it."""


def read_trials(folder: Path, name: str) -> list[Trial]:
    """Return the trials of a study that ended, in the order they did.

    Args:
        folder: The study's folder.
        name: Of the study.

    Raises:
        StorageError: The database is missing, or cannot be read.
    """
    path = folder / "study.db"
    if not path.exists():
        raise StorageError(
            f"{path}: is missing, though there is a study; restore it from a copy, or make it anew from the trials' "
            f"own files: autocompress repair {folder}"
        )
    try:
        with _opened(path) as connection:
            check_version(path, connection)
            texts = [text for (text,) in connection.execute(ENDED, {"name": name, "key": ATTRIBUTE})]
    except sqlite3.Error as error:
        raise StorageError(reason(path, error)) from error
    return parsed(path, texts)[0]


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


def parsed(path: Path, texts: list[str]) -> tuple[list[Trial], set[int]]:
    """Return the trials of these rows, and the numbers of all rows; a row that cannot be read costs its trial alone.

    Args:
        path: The database, for what is said.
        texts: What lies under ATTRIBUTE.
    """
    trials: list[Trial] = []
    numbers: set[int] = set()
    for row, text in enumerate(texts, 1):
        number = None
        try:
            data = json.loads(json.loads(text))
            number = data.get("number") if isinstance(data, dict) else None
            trial = from_plain(Trial, data)
            if trial.number not in numbers:  # none counts twice
                trials.append(trial)
        except (ValueError, TypeError) as error:
            what = f"trial {number}" if isinstance(number, int) else f"row {row}"
            remark(
                f"{path}: {what} cannot be read and is left out (a later version wrote it?): {one_line(error)[:120]}"
            )
        if isinstance(number, int):
            numbers.add(number)
    return trials, numbers


def places(rows: Iterable[Sequence[Any]]) -> dict[int, int]:
    """Return where trials stand: number -> Optuna's number of the row, for what `PLACES` reads."""
    found: dict[int, int] = {}
    for row, attribute in rows:
        with contextlib.suppress(ValueError, TypeError, KeyError):
            found.setdefault(int(json.loads(json.loads(attribute))["number"]), row)
    return found


def address(path: Path, how: str) -> str:
    """Return SQLite's name of a file, with how to open it, such as "mode=ro"; any character may be in a path."""
    return f"file:{quote(str(path.absolute()))}?{how}"


def check_version(path: Path, connection: sqlite3.Connection) -> None:
    """Refuse a database of tables that the installed Optuna does not know.

    Raises:
        StorageError: A later version wrote it.
        sqlite3.Error: It is no database of Optuna's.
    """
    written = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    storages = Path(optuna.storages.__file__).parent
    known = {each.stem.rstrip("_") for each in (storages / "_rdb" / "alembic" / "versions").glob("v*.py")}
    if written is not None and known and written[0] not in known:
        raise StorageError(
            f"{path}: written by a later version of Optuna (tables {written[0]}, known up to {max(known)}): nothing in "
            "it was changed; install that version"
        )


def cause(error: BaseException) -> str:
    """Return what SQLite or the system said, on one line, without the names of files: any word may be in those."""
    causes: list[BaseException] = [error]
    while (before := causes[-1].__cause__) is not None:
        causes.append(before)  # Optuna's own words hide SQLite's
    last = causes[-1]
    said = last.strerror if isinstance(last, OSError) else getattr(last, "orig", None)
    return one_line(str(said or last))[:160]


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
        f"`autocompress repair {path.parent}`, or start anew with --fresh"
    )


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    how = _way(path)
    if how is not None:
        connection = sqlite3.connect(address(path, how), uri=True, timeout=PATIENCE_S)
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
