"""Files that are there whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...errors import StorageError


def trial_folder(study: Path, number: int) -> Path:
    """Where a trial's files lie."""
    return study / "trials" / f"{number:04d}"


def write_json(path: Path, data: Any) -> None:
    """Write `data` beside `path`, then move it into place. Raises StorageError when the disk is full."""
    write_bytes(path, json.dumps(data, indent=1).encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` beside `path`, then move it into place. Raises StorageError when the disk is full."""
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            beside.write_bytes(data)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)


def read_json(path: Path) -> Any:
    """The content of `path`, None when there is no such file. Raises StorageError when it is no JSON."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StorageError(f"{path}: cannot be read ({error}); delete it, or start anew with --fresh") from error


def copy(source: Path, target: Path) -> None:
    """Copy a model, a file or a folder, beside `target`, then move it into place."""
    beside = target.with_name(f"{target.stem}.{os.getpid()}.copy{target.suffix}")
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, beside, dirs_exist_ok=True)
        else:
            shutil.copyfile(source, beside)
        move(beside, target)


def move(source: Path, target: Path) -> None:
    """Put a model, a file or a folder, in place of what is there."""
    if target.is_dir():
        shutil.rmtree(target)
    source.replace(target)


def remove(path: Path) -> None:
    """Remove a model, a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def digest(path: Path) -> str:
    """SHA-256 of a model, hexadecimal: of the file, or of a folder's files in the order of their names."""
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    whole = hashlib.sha256()
    for part in sorted(p for p in path.rglob("*") if p.is_file()):
        whole.update(f"{part.relative_to(path)}\n".encode() + part.read_bytes())
    return whole.hexdigest()


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn what an operating system says of a full or read-only disk into a StorageError of one line."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise StorageError(f"{path}: the disk is full; free some space and run the same command again") from error
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise StorageError(f"{path}: cannot be written ({error.strerror}); choose another folder") from error
        raise
