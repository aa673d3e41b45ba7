"""A study's folder that machines share with the driver, so that checkpoints and models need not travel.

A worker still works in a folder of its own: it reads what a job needs where it lies, and writes what it made into a new
folder beside. The driver moves that into place. So no two machines ever write one file, and nothing is seen of a job
that was lost.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ...errors import StorageError, one_line
from ...files import PARTIAL, disk_errors, make_folder, move, remove, write_bytes
from .parcel import Parcel, check_inside, link, unpack

TOKEN = f"{PARTIAL}shared-"
GREETING = "greeting"


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
        if not self.is_seen():
            return ""
        with suppress(StorageError, OSError):
            return self.given(Parcel({GREETING: self.token.encode()})).place
        return ""

    def hears(self, place: str) -> bool:
        """Tell whether this process sees what a worker wrote by `greet`, and may move it."""
        if not place:
            return False
        greeting = self.folder / place / GREETING
        with suppress(StorageError, OSError):
            greeted = greeting.read_bytes() == self.token.encode()
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
            NotSeen: Something of it is not here. Nothing was changed then.
        """
        check_inside(self.folder, parcel)
        place = self.folder / parcel.place
        for name, (size_bytes, _) in parcel.links.items():
            with suppress(OSError):
                if (place / name).stat().st_size == size_bytes:
                    continue
            raise NotSeen(f"{place / name} is not there, or not whole")
        with disk_errors(self.folder):
            for name in parcel.links:
                make_folder((self.folder / name).parent)
                move(place / name, self.folder / name)
            if parcel.place:
                remove(place)
        unpack(self.folder, replace(parcel, links={}, place=""))

    @property
    def _token(self) -> Path:
        return self.folder / f"{TOKEN}{self.token}"
