"""Where the rows of a study lie that keeps them on a database server: a note in its folder, without any password."""

from __future__ import annotations

import os
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy

from ...errors import StorageError, UsageError, one_line
from ...files import PARTIAL, disk_errors, read_object, write_json
from ...spaces.plain import from_plain, to_plain

FILE = "storage.json"
SECRETS = ("password", "passwd", "sslpassword")
"""Parts of an address's query that are never written."""
SUCH_AS = "allowed: the address of a database server, such as postgresql+psycopg://user@host/database"


@dataclass(frozen=True)
class Place:
    """Where the rows of a study lie.

    Attributes:
        address: Of the database, as SQLAlchemy takes it, without its password.
        study: Name of the study there: many studies share a database, and folders of several machines their names.
    """

    address: str
    study: str


def check_address(address: str) -> None:
    """Refuse what is no address of a database server, or needs a driver that is not installed.

    No message repeats the address: there may be a password in it.

    Raises:
        UsageError: It is none, or its driver is not installed.
    """
    url = _parsed(address)
    if url.get_backend_name() == "sqlite":
        raise UsageError(f"--storage: SQLite is what a study has without this option; {SUCH_AS}")
    try:
        url.get_dialect().import_dbapi()
    except sqlalchemy.exc.NoSuchModuleError:
        raise UsageError(f"--storage: {url.drivername} is no kind of database known here; {SUCH_AS}") from None
    except ImportError as error:
        raise UsageError(
            f"--storage: the driver of {url.drivername} is not installed ({one_line(error)}); for postgresql+psycopg: "
            "pip install 'autocompress[postgresql]'"
        ) from None


def without_password(address: str) -> str:
    """Return an address without the password in it.

    Raises:
        UsageError: It is no address.
    """
    url = _parsed(address)
    query = {key: value for key, value in url.query.items() if key not in SECRETS}
    kept = sqlalchemy.URL.create(url.drivername, url.username, None, url.host, url.port, url.database, query)
    return kept.render_as_string(hide_password=False)


def passwords(address: str) -> list[str]:
    """Return what must not be shown of an address."""
    url = _parsed(address)
    found = [url.password, *(url.query.get(key) for key in SECRETS)]
    return [str(each) for each in found if each]


def read_place(folder: Path) -> Place | None:
    """Return where the rows of a study lie; None where they lie in its folder.

    Raises:
        StorageError: The note cannot be read.
    """
    kept = read_object(folder / FILE)
    try:
        return None if kept is None else from_plain(Place, kept)
    except ValueError as error:
        raise StorageError(
            f"{folder / FILE}: does not say where the trials are ({one_line(error)[:100]}); restore it from a copy"
        ) from error


def new_place(folder: Path, address: str) -> Place:
    """Return a place for a new study in a folder; nothing is written."""
    return Place(without_password(address), f"{folder.name}-{secrets.token_hex(4)}")


def note_place(folder: Path, place: Place, anew: bool = False) -> Place:
    """Note where the rows of a study lie, and return it. Of two processes that do so at once, one decides for both.

    Args:
        folder: The study's folder.
        place: Where they lie.
        anew: Whether that takes the place of an earlier note.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    path = folder / FILE
    if anew:
        write_json(path, to_plain(place))
        return place
    with disk_errors(path), tempfile.TemporaryDirectory(prefix=PARTIAL, dir=folder) as beside:
        whole = Path(beside) / FILE
        write_json(whole, to_plain(place))
        try:
            os.link(whole, path)
        except FileExistsError:
            return read_place(folder) or place
        except OSError:  # a disk without hard links
            whole.replace(path)
    return place


def _parsed(address: str) -> sqlalchemy.URL:
    try:
        url = sqlalchemy.make_url(address)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise UsageError(f"--storage: no address of a database; {SUCH_AS}") from None
    if "@" in (url.host or ""):
        raise UsageError("--storage: the address has more than one @; write one in a password as %40")
    return url
