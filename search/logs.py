"""What a search says of itself, by Python's logging: into the driver's log, and by workers into theirs."""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import sys
import time
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

from ..errors import one_line
from ..remarks import LOGGER as REMARKS
from .store.logs import add_to_log, driver_log_path

LOGGER = f"{REMARKS}.search"
LEVELS = ("debug", "info", "warning", "error")
_ABOUT: ContextVar[int | None] = ContextVar("trial", default=None)


@contextlib.contextmanager
def about_trial(number: int) -> Iterator[None]:
    """Meanwhile, lines are about this trial."""
    before = _ABOUT.set(number)
    try:
        yield
    finally:
        _ABOUT.reset(before)


def log(line: str, level: int = logging.INFO) -> None:
    """Write a line into the log of this process. It comes through while libraries are kept quiet; see `quietly`."""
    logger = logging.getLogger(LOGGER)
    if level >= logger.getEffectiveLevel():
        logger.handle(logger.makeRecord(LOGGER, level, __file__, 0, " ".join(line.split()), (), None))


class DriverLog(logging.Handler):
    """Writes lines into a file once it is known which one, and keeps them until then."""

    def __init__(self) -> None:
        """Begin to keep lines."""
        super().__init__()
        self.setFormatter(_Lines())
        self._path: Path | None = None
        self._kept: list[bytes] = []

    def begin(self, study: Path) -> None:
        """Write what was kept, and what comes from now on, into a study's folder."""
        self._path = driver_log_path(study)
        add_to_log(self._path, b"".join(self._kept))
        self._kept.clear()

    def emit(self, record: logging.LogRecord) -> None:
        """Take a line."""
        try:
            line = f"{self.format(record)}\n".encode(errors="replace")
        except Exception:  # of whoever wrote the line
            self.handleError(record)
            return
        if self._path is None:
            self._kept.append(line)
        else:
            add_to_log(self._path, line)


@contextlib.contextmanager
def driver_log(level: str) -> Iterator[DriverLog]:
    """Meanwhile, take what this process says of its search. Nothing more than before goes to the terminal.

    What ends the search is the last line.

    Args:
        level: The least that is taken, one of `LEVELS`.
    """
    handler, least = DriverLog(), _number(level)
    own, remarks = logging.getLogger(LOGGER), logging.getLogger(REMARKS)
    before = own.level, own.propagate
    # a program that has asked for as much itself gets it too
    own.propagate = own.getEffectiveLevel() <= least
    added: list[tuple[logging.Logger, logging.Handler]] = [(own, handler), (remarks, _Remarks(handler, least))]
    if logging.lastResort is not None and not remarks.hasHandlers():
        added.append((remarks, _Remarks(logging.lastResort, logging.WARNING)))  # which else falls silent
    own.setLevel(least)
    for logger, each in added:
        logger.addHandler(each)
    try:
        yield handler
    except BaseException as error:
        log(f"ended by {type(error).__name__}: {one_line(error)}", logging.ERROR)
        raise
    finally:
        for logger, each in added:
            logger.removeHandler(each)
        own.setLevel(before[0])
        own.propagate = before[1]


def log_to_stderr(level: str) -> None:
    """Write what this process says from now on to standard error, for a worker whose output goes to its log.

    Args:
        level: The least that is written, one of `LEVELS`.
    """
    handler, least = logging.StreamHandler(sys.stderr), _number(level)
    handler.setFormatter(_Lines())
    own = logging.getLogger(LOGGER)
    own.setLevel(least)
    own.propagate = False
    own.addHandler(handler)
    logging.getLogger(REMARKS).addHandler(_Remarks(handler, least))


class _Remarks(logging.Handler):
    """Hands on what was found damaged and passed over, and nothing of the loggers below."""

    def __init__(self, to: logging.Handler, least: int) -> None:
        super().__init__(least)
        self._to = to

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == REMARKS:
            self._to.handle(record)


class _Lines(logging.Formatter):
    """Time, level, machine, process, and the trial that a line is about."""

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(record.created))
        trial = "" if (number := _ABOUT.get()) is None else f" trial {number}:"
        who = f"{platform.node()}/{os.getpid()}"
        return f"{moment} {record.levelname.lower():7} {who}{trial} {record.getMessage()}"


def _number(level: str) -> int:
    return logging.getLevelNamesMapping()[level.upper()]
