"""The checksums of a bundle: `SHA256SUMS` covers every other file, in the form that `sha256sum --check` reads too."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from ...errors import BundleError
from ...files import write_bytes

NAME = "SHA256SUMS"
_LINE = re.compile(r"([0-9a-f]{64})  ([^\n\0]+)")


def write_checksums(folder: Path, deep: bool = True) -> None:
    """Write the checksums of the files in a folder.

    Args:
        folder: The folder.
        deep: Whether those in folders below it count too.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    found = folder.rglob("*") if deep else folder.glob("*")
    names = sorted(p.relative_to(folder).as_posix() for p in found if p.is_file() and p.name != NAME)
    write_bytes(folder / NAME, "".join(f"{_sha256(folder / name)}  {name}\n" for name in names).encode())


def listed(folder: Path) -> dict[str, str]:
    """Return path -> checksum, as a folder's list has them.

    Raises:
        BundleError: There is no list, or a line of it was changed.
    """
    path = folder / NAME
    try:
        text = path.read_bytes().decode()
    except FileNotFoundError:
        raise BundleError(f"no bundle in {folder}: it has no {NAME}; give a folder that `pick --out` wrote") from None
    except UnicodeDecodeError:
        raise BundleError(f"{path}: was changed: it is no text; restore it from a copy") from None
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror}); restore it from a copy") from error
    lines = text.split("\n")
    found = [_LINE.fullmatch(line) for line in lines[:-1]]
    # what is left after the last line break is nothing, unless the break itself was changed
    end = len(lines) if lines[-1] else None
    wrong = next((number for number, match in enumerate(found, 1) if match is None), end)
    if wrong is not None or len(lines) == 1:
        raise BundleError(f"{path}: was changed: line {wrong or 1} is no checksum; restore it from a copy")
    return {match[2]: match[1] for match in found if match is not None}


def check(folder: Path) -> int:
    """Check every file that a folder's list names.

    Returns:
        Number of files.

    Raises:
        BundleError: A file is missing or was changed; the first is named.
    """
    names = listed(folder)
    for name, sha256 in names.items():
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            raise BundleError(f"{folder / NAME}: was changed: it names {name}, outside of the folder")
        try:
            found = _sha256(path) if path.is_file() else None
        except OSError as error:
            raise BundleError(f"{path}: cannot be read ({error.strerror}); restore it from a copy") from error
        if found is None:
            raise BundleError(f"{path}: is missing; restore it from a copy of the bundle")
        if found != sha256:
            raise BundleError(f"{path}: was changed: its SHA-256 is not what {NAME} says; restore it from a copy")
    return len(names)


def unchanged(folder: Path, name: str, sha256: str) -> bool:
    """Tell whether a file that a folder's list names lies in it, as it was written."""
    path = folder / name
    try:
        return path.resolve().is_relative_to(folder.resolve()) and path.is_file() and _sha256(path) == sha256
    except OSError:
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
