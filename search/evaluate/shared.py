"""A study's folder that machines share with the driver, so that checkpoints and models need not travel.

A worker still works in a folder of its own: it reads what a job needs where it lies, and writes what it made into a new
folder beside. The driver moves that into place. So no two machines ever write one file, and nothing is seen of a job
that was lost.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ...errors import StorageError, one_line
from ...files import PARTIAL, disk_errors, make_folder, move, remove, write_bytes
from .parcel import Parcel, check_inside, link, unpack

TOKEN = f"{PARTIAL}shared-"
GREETING = "greeting"
SEEN_S = 8.0
"""Seconds that what another machine wrote may take to be seen: a network's file system remembers what was there."""


class NotSeen(Exception):
    """A file that another machine wrote into a shared folder is not there, or not the same, for this one."""


@dataclass(frozen=True)
class SharedFolder:
    """A study's folder, and how a machine tells that it sees the same one.

    Attributes:
        folder: The folder, by a path from the root that is the same on all machines.
        token: What the driver has written into it, at random.
    """

    folder: Path
    token: str

    @classmethod
    def offered(cls, folder: Path) -> SharedFolder:
        """Offer a study's folder to other machines.

        Raises:
            StorageError: The disk is full or cannot be written.
        """
        found = cls(folder.absolute(), secrets.token_hex(16))
        write_bytes(found._token, found.token.encode())
        return found

    def withdraw(self) -> None:
        """Offer it no longer; after a kill, whoever opens the study next removes what was left."""
        with suppress(OSError):
            self._token.unlink(missing_ok=True)

    def is_seen(self) -> bool:
        """Tell whether this machine sees the folder, and not another one of its path."""
        try:
            return self._token.read_bytes() == self.token.encode()
        except OSError:
            return False

    def greet(self) -> str:
        """Write something into the folder; return where it lies, or nothing where this machine cannot."""
        if not seen_soon(self.is_seen):
            return ""
        with suppress(StorageError, OSError):
            return self.given(Parcel({GREETING: self.token.encode()})).place
        return ""

    def hears(self, place: str) -> bool:
        """Tell whether this process sees what a worker wrote by `greet`, and may move it."""
        if not place:
            return False
        greeting = self.folder / place / GREETING

        def is_there() -> bool:
            with suppress(OSError):
                return greeting.read_bytes() == self.token.encode()
            return False

        with suppress(StorageError, OSError):
            greeted = seen_soon(is_there)
            remove(self.folder / place)
            return greeted
        return False

    def taken(self, parcel: Parcel) -> Parcel:
        """Return a parcel with the content of the files that it names; a worker calls it.

        Raises:
            NotSeen: A file is not here as the driver saw it when it sent the parcel, or cannot be read.
        """
        found = dict(parcel.files)
        for name, known in parcel.links.items():
            path = self.folder / name
            try:
                seen, found[name] = link(path), path.read_bytes()
            except OSError as error:
                raise NotSeen(f"{path}: {one_line(error)}") from error
            if seen != known:
                raise NotSeen(f"{path}: has {seen[0]} bytes here, and {known[0]} or another date at the driver")
        return replace(parcel, files=found, links={})

    def given(self, parcel: Parcel) -> Parcel:
        """Write whole files of a parcel into the folder, and return it with their names; a worker calls it.

        Raises:
            StorageError: The disk is full or cannot be written.
        """
        if not parcel.files:
            return parcel
        place = self.folder / f"{PARTIAL}{secrets.token_hex(8)}"
        try:
            with disk_errors(place):
                for name, content in parcel.files.items():
                    write_bytes(place / name, content)
                links = {name: link(place / name) for name in parcel.files}
        except BaseException:
            with suppress(OSError):
                remove(place)
            raise
        return replace(parcel, files={}, links=links, place=place.name)

    def receive(self, parcel: Parcel) -> None:
        """Move what a worker wrote into its place, and unpack the rest; the driver calls it.

        Raises:
            StorageError: The disk is full or cannot be written, or a path leads out of the folder.
            NotSeen: Something of it is not here, nor some seconds later. Nothing was changed then.
        """
        check_inside(self.folder, parcel)
        place = self.folder / parcel.place
        missing: list[str] = []

        def is_whole() -> bool:
            missing[:] = self._missing(parcel)
            return not missing

        if not seen_soon(is_whole):
            raise NotSeen(f"{place / missing[0]} is not there, or not whole")
        with disk_errors(self.folder):
            for name in parcel.links:
                make_folder((self.folder / name).parent)
                move(place / name, self.folder / name)
            if parcel.place:
                remove(place)
        unpack(self.folder, replace(parcel, links={}, place=""))

    def _missing(self, parcel: Parcel) -> list[str]:
        """Return the names of a parcel whose files are not in its place, or not whole."""
        place, found = self.folder / parcel.place, []
        with suppress(OSError):
            list(place.iterdir())  # else a system may go on saying what it knows of a folder
        for name, (size_bytes, _) in parcel.links.items():
            with suppress(OSError):
                if (place / name).stat().st_size == size_bytes:
                    continue
            found.append(name)
        return found

    @property
    def _token(self) -> Path:
        return self.folder / f"{TOKEN}{self.token}"


def seen_soon(look: Callable[[], bool]) -> bool:
    """Look until something is seen that another machine wrote, for `SEEN_S` at most; return whether it was."""
    until_s, pause_s = time.monotonic() + SEEN_S, 0.05
    while not look():
        if time.monotonic() >= until_s:
            return False
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, 1.0)
    return True
