"""What is kept for later studies of this user. It is no more than a memory: anything in it can be made again."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from .errors import StorageError
from .files import read_json, write_json

T = TypeVar("T")

VARIABLE = "AUTOCOMPRESS_CACHE"


def user_cache() -> Path:
    """Return the folder that the variable AUTOCOMPRESS_CACHE names, else `autocompress` in the user's cache folder."""
    if named := os.environ.get(VARIABLE):
        return Path(named)
    import platformdirs

    return Path(platformdirs.user_cache_dir("autocompress", appauthor=False))


@dataclass(frozen=True)
class Cache(Generic[T]):
    """A folder of values, one JSON file each.

    What cannot be read is not there, and what cannot be written is made again next time. Files are replaced whole, so
    that processes which write at once do no harm.

    Attributes:
        kind: Name of the folder in the user's cache.
        format: Of the files; files of another format are not there.
        load: Makes a value of plain JSON types; raises KeyError, TypeError, ValueError or AttributeError for others.
        dump: The inverse of `load`.
        folder: Where the files lie; by default `kind` in the user's cache.
    """

    kind: str
    format: int
    load: Callable[[Any], T]
    dump: Callable[[T], Any]
    folder: Path = field(default_factory=Path)

    def __post_init__(self) -> None:
        if self.folder == Path():
            object.__setattr__(self, "folder", user_cache() / self.kind)

    def path(self, key: str) -> Path:
        """Return the file of this key."""
        return self.folder / f"{key}.json"

    def read(self, key: str) -> T | None:
        """Return what is kept; None if there is no file, or one that is corrupt or of another format."""
        try:
            data = read_json(self.path(key))
            return self.load(data["value"]) if data and data["format"] == self.format else None
        except (StorageError, KeyError, TypeError, ValueError, AttributeError):
            return None

    def write(self, key: str, value: T, **notes: Any) -> None:
        """Keep a value in place of what was there.

        Args:
            key: Letters, digits, dots, dashes and underscores.
            value: What to keep.
            notes: Other plain values for people who look into the file.
        """
        with suppress(StorageError, OSError):
            write_json(self.path(key), {"format": self.format, **notes, "value": self.dump(value)})
