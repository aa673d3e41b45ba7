"""Waiting for a database that is locked, or out of reach."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from ...errors import StorageError
from ...remarks import notice
from .database import Database

T = TypeVar("T")
PATIENCE_S = 60.0
"""How long a database is waited for that somebody else has locked, or that is out of reach."""
STOPPED_S = 1.0
"""The same from when the search is to end."""


class WaitEnded(StorageError):
    """A database was not waited for any longer, because the search is to end."""


class Patience:
    """Does things with a database, again while it cannot be used."""

    def __init__(self, database: Database, stop: Callable[[], bool] = lambda: False) -> None:
        """Ask this database.

        Args:
            database: The database.
            stop: Tells whether the search is to end: nothing is waited for long any more.
        """
        self._database, self._stop = database, stop

    def patiently(self, act: Callable[[], T], patience_s: float | None = None) -> T:
        """Do something with the database; again, for `PATIENCE_S` or so, while it is locked or out of reach.

        Args:
            act: What is done.
            patience_s: Seconds of patience, in place of the usual ones.
        """
        until_s, told = time.monotonic() + (PATIENCE_S if patience_s is None else patience_s), False
        while True:
            try:
                return act()
            except Exception as error:
                if not self.is_away(error):
                    raise
                if self._stop():
                    until_s = min(until_s, time.monotonic() + STOPPED_S)
                if time.monotonic() > until_s:
                    raise
            if not told:
                notice(
                    f"{self._database.where}: cannot be used now, and is waited for since {time.strftime('%H:%M:%S')}"
                )
                told = True
            time.sleep(0.5)

    def when_there(self, act: Callable[[], T], patience_s: float | None = None) -> T:
        """Do the same, and tell in a line what goes wrong.

        Raises:
            WaitEnded: The database is away, and the search is to end.
            StorageError: The database cannot be used.
        """
        try:
            return self.patiently(act, patience_s)
        except StorageError:
            raise
        except Exception as error:
            kind = WaitEnded if self.is_away(error) and self._stop() else StorageError
            raise kind(self._database.reason(error)) from error

    def is_away(self, error: BaseException) -> bool:
        """Tell whether the database can be used again later."""
        return not isinstance(error, StorageError) and self._database.is_away(error)
