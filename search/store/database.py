"""A study's database, made and opened for writing."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import optuna
import sqlalchemy

from ...files import PARTIAL, move
from .rows import address, check_version

BUSY_S = 5.0
"""Seconds that SQLite itself waits for a lock, each time it is asked."""
Direction = Literal["maximize", "minimize"]


def make_database(path: Path, name: str, directions: Sequence[Direction]) -> None:
    """Make the database of a new study, whole or not at all: Optuna makes its tables one by one, over a second.

    Args:
        path: Where it is to lie.
        name: Of the study.
        directions: Of its objectives.
    """
    beside = path.with_name(f"{PARTIAL}{path.name}")
    for each in (path, beside):  # what is left of others would be taken for a transaction of this one
        for end in ("-journal", "-wal", "-shm"):
            each.with_name(each.name + end).unlink(missing_ok=True)
    beside.unlink(missing_ok=True)
    engine, _ = _opened(beside, name, directions, "rwc")
    engine.dispose()
    move(beside, path)


def open_database(path: Path, name: str, directions: Sequence[Direction]) -> tuple[sqlalchemy.Engine, int]:
    """Open a database that is there. One that is gone for a moment, as on a network's disk, is never made anew.

    Args:
        path: Where it lies.
        name: Of the study.
        directions: Of its objectives.

    Returns:
        The engine, and Optuna's number of the study.
    """
    with contextlib.closing(_connector(path, "rw")()) as connection:
        check_version(path, connection)
        # no log beside the file: a copy of it is whole, and a network's disk can hold it
        connection.execute("PRAGMA journal_mode=DELETE")
    return _opened(path, name, directions, "rw")


def _opened(path: Path, name: str, directions: Sequence[Direction], mode: str) -> tuple[sqlalchemy.Engine, int]:
    storage = optuna.storages.RDBStorage("sqlite:///study.db", engine_kwargs={"creator": _connector(path, mode)})
    study = optuna.create_study(study_name=name, storage=storage, directions=directions, load_if_exists=True)
    return storage.engine, study._study_id


def _connector(path: Path, mode: str) -> Callable[[], sqlite3.Connection]:
    def connect() -> sqlite3.Connection:
        return sqlite3.connect(address(path, f"mode={mode}"), uri=True, timeout=BUSY_S, check_same_thread=False)

    return connect
