"""What an earlier bundle left in a folder, and what there is somebody else's."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ...errors import BundleError, StorageError, UsageError
from ...files import is_trouble, move, read_object
from .checksums import NAME, listed, unchanged


def put_in_place(made: Path, out: Path, mark: str = "measurement.json") -> None:
    """Move a bundle that was written elsewhere into its folder, in place of an earlier one.

    The list of checksums goes first: whatever happens, it names each file of a bundle that lies there.

    Args:
        made: The bundle, on the same disk.
        out: Its folder.
        mark: See `written_before`.

    Raises:
        UsageError: A file would be lost that no earlier bundle wrote, or that was changed since.
    """
    earlier = written_before(out, mark)
    parts = sorted(made.iterdir(), key=lambda part: (part.name != NAME, part.name))
    refuse_to_lose(out, (part.name for part in parts), earlier)
    for name in earlier - {NAME}:
        (out / name).unlink()
    for name in earlier:
        for parent in (out / name).parents:
            if parent == out or not parent.is_dir() or any(parent.iterdir()):
                break
            parent.rmdir()
    for part in parts:
        move(part, out / part.name)


def written_before(folder: Path, mark: str) -> set[str]:
    """Return the files that an earlier bundle wrote into a folder and nobody changed since, with its list of them.

    Args:
        folder: The folder.
        mark: A file that each bundle has: other lists of checksums name the files of others.
    """
    try:
        names = listed(folder)
    except BundleError:
        return set()
    if mark not in names:
        return set()
    return {NAME} | {name for name, sha256 in names.items() if unchanged(folder, name, sha256)}


def read_noted(path: Path) -> dict[str, Any] | None:
    """Return what a command noted in the folder that it writes into; None where there is no such file.

    Raises:
        UsageError: The file is damaged, or another program wrote it.
        StorageError: The disk fails.
    """
    try:
        return read_object(path)
    except StorageError as error:
        if is_trouble(error.__cause__):
            raise
        raise UsageError(
            f"{path}: damaged, or no earlier run of this command wrote it; give another folder, or move it away"
        ) from error


def refuse_to_lose(folder: Path, names: Iterable[str], earlier: set[str]) -> None:
    """Refuse to write over what no earlier bundle wrote.

    Args:
        folder: The folder that is written into.
        names: Files and folders that are to be written there.
        earlier: What may be replaced; see `written_before`.

    Raises:
        UsageError: Something else would be lost.
    """
    for name in names:
        path = folder / name
        below = [path] if path.is_symlink() or not path.is_dir() else path.rglob("*")
        there = (p for p in below if p.is_symlink() or (p.exists() and not p.is_dir()))
        lost = next((p for p in there if p.relative_to(folder).as_posix() not in earlier), None)
        if lost is not None:
            raise UsageError(
                f"{lost} would be lost: no earlier bundle wrote it, or it was changed since; give another folder, or "
                "move it away"
            )
