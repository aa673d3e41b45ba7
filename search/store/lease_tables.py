"""The tables that tell drivers of each other, beside Optuna's own on a server."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import sqlalchemy
from sqlalchemy import Boolean, Column, DateTime, Integer, String, Text

TABLES = sqlalchemy.MetaData()


def _of_drivers(name: str) -> sqlalchemy.Table:
    return sqlalchemy.Table(
        name,
        TABLES,
        Column("driver", String(32), primary_key=True),
        Column("study_id", Integer, nullable=False, index=True),
        Column("host", String(255), nullable=False),
        Column("process", Integer, nullable=False),
        Column("beat", DateTime(timezone=True), nullable=False),
        Column("keeper", Boolean, nullable=False),
    )


DRIVERS = _of_drivers("autocompress_drivers")
LEAVING = _of_drivers("autocompress_leaving")
"""Drivers that have left a study, and are not through with logging a trial."""
TRIALS = sqlalchemy.Table(
    "autocompress_trials",
    TABLES,
    Column("study_id", Integer, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("driver", String(32)),
    Column("plan", String(64), nullable=False),
    Column("record", Text, nullable=False),
    Column("ended", Boolean, nullable=False),
)
LOGGED = sqlalchemy.Table(
    "autocompress_logged",
    TABLES,
    Column("study_id", Integer, primary_key=True, autoincrement=False),
    Column("place", String(64), primary_key=True),
    Column("driver", String(32), nullable=False),
)
"""Which driver logs a study's trials to a place, by the place's SHA-256."""


@dataclass(frozen=True)
class Living:
    """A driver that lives.

    Attributes:
        driver: What it is known by.
        host: Name of its machine.
        process: Its number there.
        keeper: Whether it keeps the study's files.
    """

    driver: str
    host: str
    process: int
    keeper: bool

    @property
    def words(self) -> str:
        """What users see of it."""
        return f"process {self.process} on {self.host}"


def digest_of(text: str) -> str:
    """Return what stands for a text in a column of 64 characters."""
    return hashlib.sha256(text.encode()).hexdigest()
