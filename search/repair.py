"""A study's folder put in order, without its data, its network or its runtimes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..errors import StorageError
from ..files import sweep
from .objectives import objectives_of
from .store.access import access_alone
from .store.settings import read_settings
from .store.trials import TrialStore


def repair(folder: Path) -> Iterator[str]:
    """Sweep what killed processes left, and make the database anew where it is missing or cannot be used.

    Args:
        folder: The study's folder.

    Yields:
        Lines about what was done.

    Raises:
        UsageError: There is no study in this folder.
        StorageError: A search has the study open, its database is locked or of a later version, or the disk is full.
    """
    settings = read_settings(folder)
    with access_alone(folder, settings.name) as access:
        sweep(folder)
        database = access.database
        if line := database.put_aside():
            yield line
        store = TrialStore(folder, settings.name, objectives_of(settings), access.check_held, database)
        try:
            ended = store.ended()
            left = store.interrupted()
        finally:
            store.close()
    if not ended and not left and any((folder / "trials").glob("*")):
        raise StorageError(f"{folder}: no trial's own file can be read; restore {database.where} from a copy")
    yield f"{folder}: {len(ended)} trials that ended, and {len(left)} that the next search goes on with"
