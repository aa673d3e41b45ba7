"""Files that are there whole or not at all. Imports nothing of the project but its errors and the terminal."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import StorageError, UsageError, one_line
from .terminal import terminal_is_gone

PARTIAL = ".part-"
"""How the name of what is not yet finished begins. Only a kill leaves such a file; see `sweep`."""
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
"""How an address such as s3://bucket begins, once it was taken for a path."""
_NAMES = ("EIO", "ESTALE", "ETIMEDOUT", "ENXIO", "ENODEV", "EREMOTEIO")
TROUBLE = frozenset(vars(errno)[name] for name in _NAMES if name in vars(errno))
"""What a system says of a disk that fails, or of a network's that is out of reach: nothing is wrong with a file."""
REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP, errno.EOPNOTSUPP)
"""What it says of a file that cannot be had there."""


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` beside `path`, flush it to the disk, then move it into place.

    Args:
        path: The file. Its folder is made where it is missing.
        data: Its content.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    with disk_errors(path):
        make_folder(path.parent)
        handle, name = tempfile.mkstemp(f"-{path.name}", PARTIAL, path.parent)
        beside = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            beside.chmod(0o666 & ~_umask())
            beside.replace(path)
            _sync(path.parent)
        finally:
            beside.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Make a folder with those above it, so that a loss of power does not take them away again.

    Raises:
        OSError: It cannot be made.
    """
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for each in missing:
        _sync(each.parent)


def write_json(path: Path, data: Any) -> None:
    """Write `data` as indented JSON; see `write_bytes`."""
    write_bytes(path, json.dumps(data, indent=1).encode())


def read_json(path: Path) -> Any:
    """Return the content of a JSON file; None when there is no such file.

    Raises:
        StorageError: It is no JSON or cannot be read.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        if is_trouble(error):
            raise StorageError(_troubled(path, error)) from error
        raise StorageError(f"{path}: cannot be read ({error}); delete it, or start anew with --fresh") from error


def read_object(path: Path) -> dict[str, Any] | None:
    """Return the content of a JSON file that holds names with values; None when there is no such file.

    Raises:
        StorageError: It holds something else, or cannot be read.
    """
    found = read_json(path)
    if isinstance(found, dict) or (found is None and not path.exists()):
        return found
    raise StorageError(f"{path}: damaged, holds {type(found).__name__} in place of names with values; delete it")


def copy(source: Path, target: Path) -> None:
    """Copy a model, which is a file or a folder, beside `target`, then move it into place.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=target.parent) as folder:
            beside = Path(folder) / target.name
            if source.is_dir():
                shutil.copytree(source, beside)
            else:
                shutil.copyfile(source, beside)
            move(beside, target)


def move(source: Path, target: Path) -> None:
    """Put a model, which is a file or a folder, in place of what is there; a file in one step.

    It is flushed to the disk first: a trial's row must not outlive its file when power is lost.
    """
    # what lies in an unfinished folder is thrown away after a crash, whole or not
    lasting = not any(part.startswith(PARTIAL) for part in target.parent.parts)
    if lasting:
        for path in (source, *source.rglob("*")) if source.is_dir() else (source,):
            _sync(path)
    if target.is_symlink() and source.is_dir():
        target.unlink()
    elif target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    source.replace(target)
    if lasting:
        _sync(target.parent)


def remove(path: Path) -> None:
    """Remove a model, which is a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove what killed processes left unfinished anywhere below `folder`; none of them may still run.

    Raises:
        StorageError: The disk cannot be written.
    """
    with disk_errors(folder):
        for path in list(folder.rglob(f"{PARTIAL}*")):
            remove(path)


def digest(path: Path) -> str:
    """Return the SHA-256 of a model, hexadecimal: of the file, or of a folder's files in the order of their names."""
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    whole = hashlib.sha256()
    for part in sorted(p for p in path.rglob("*") if p.is_file()):
        whole.update(f"{part.relative_to(path)}\n".encode() + part.read_bytes())
    return whole.hexdigest()


def expanded(path: str | Path) -> Path:
    """Return a path with a user's home in place of ~ or ~name.

    Raises:
        UsageError: There is no such user.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UsageError(f"{path}: {one_line(error)}; give the path of the folder itself") from None


def check_folder(folder: Path) -> None:
    """Refuse a folder that cannot be one, because it or one above it is a file. It need not be there.

    Raises:
        UsageError: It is a file, or an address of object storage.
    """
    if _ADDRESS.match(str(folder)) and not folder.exists():
        raise UsageError(
            f"{str(folder).replace(':/', '://', 1)} is no folder: studies need locks and files that grow, which object "
            "storage has not; give a folder of a disk, and copy what was found there afterwards"
        )
    for path in (folder, *folder.parents):
        if path.exists() and not path.is_dir():
            raise UsageError(f"{path} is a file; give the name of a folder")


def is_trouble(error: BaseException | None) -> bool:
    """Tell whether this is of a disk that fails or is out of reach, rather than of what lies on it."""
    if not isinstance(error, OSError) or error.errno not in TROUBLE:
        return False
    return not (error.errno == errno.EIO and error.filename is None and terminal_is_gone())


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn what an operating system says of a full, failing or read-only disk into a StorageError of one line."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise StorageError(f"{path}: the disk is full; free some space and run the same command again") from error
        if error.errno == errno.ENOLCK:  # a network's disk that is mounted without locks
            raise StorageError(
                f"{path}: no file can be locked there ({error.strerror}); choose a folder on another disk"
            ) from error
        if error.errno in REFUSED:
            raise StorageError(f"{path}: cannot be written ({error.strerror}); choose another folder") from error
        if is_trouble(error):
            raise StorageError(_troubled(path, error)) from error
        if error.errno in (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.EBUSY, errno.ENOTEMPTY):
            try:
                check_folder(path.parent)
            except UsageError as reason:
                raise StorageError(str(reason)) from error
            raise StorageError(f"{path}: cannot be written, {error.strerror}; choose another name") from error
        raise


@contextmanager
def given_file(path: Path) -> Iterator[None]:
    """Tell in one line why a file that a user named cannot be written, whatever library writes it.

    Its folder is made where it is missing.

    Raises:
        StorageError: It cannot be written.
        UsageError: What should be a folder above it is a file.
    """
    check_folder(path.parent)
    with disk_errors(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT) or is_trouble(error):
                raise
            raise StorageError(f"{path}: cannot be written ({error.strerror or error}); choose another name") from error


def _sync(path: Path) -> None:
    """Flush a file or a folder to the disk, where the system can.

    Raises:
        OSError: The disk is full or fails, so that the file is not there.
    """
    try:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:  # not every file system can for folders, and Windows opens none
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO) and not path.is_dir():
            raise


def _troubled(path: Path, error: BaseException) -> str:
    said = getattr(error, "strerror", None) or str(error)
    return f"{path}: the disk gives an error ({said}); check it and run the same command again"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
