"""Files to which lines are added by several processes at once. Imports nothing of the project.

On one machine, systems add what is written at once in one piece. Over a network's file system they do not: lines of two
machines would cut each other. So each machine has a file of its own beside the one that is named, and all are read.
"""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path, PurePosixPath

_MACHINE = re.compile(r"@[^@/]*(?=\.[^./]*$)")
"""Of a name, what tells a machine's own file from that of another one."""


def own_file(path: Path) -> Path:
    """Return the file that this machine adds lines to, beside the one that is named."""
    machine = re.sub(r"[^A-Za-z0-9.-]+", "-", platform.node())[:100] or "here"
    return path.with_name(f"{path.stem}@{machine}{path.suffix}")


def shared_name(name: str) -> str:
    """Return the name that all machines have for what one of them keeps in a file, with its folders."""
    return str(PurePosixPath(_MACHINE.sub("", name)))


def files_of_all(path: Path) -> list[Path]:
    """Return the files of all machines that are there, and the one that is named, which older versions wrote."""
    found = path.parent.glob(f"{path.stem}@*{path.suffix}") if path.parent.is_dir() else ()
    return [each for each in (path, *sorted(found)) if each.is_file()]


def add_lines(path: Path, lines: bytes) -> None:
    """Add whole lines to the end of a file, which begin on a line of their own where a crash left half a line.

    Args:
        path: The file; made where it is missing.
        lines: Each with its end.

    Raises:
        OSError: The disk is full or cannot be written.
    """
    with path.open("a+b", buffering=0) as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            lines = lines if file.read(1) == b"\n" else b"\n" + lines
        while lines:  # at once, but for what a full disk leaves over
            lines = lines[file.write(lines) :]
