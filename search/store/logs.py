"""Log files of a study: bounded in size, and never what ends a search."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from .layout import logs_folder

MOST_BYTES = 4 * 2**20
"""Size of a log. What goes beyond begins a new one, and the file of before is kept beside it until the next time."""
TAKEN_BYTES = 2**18
"""So much of the end of what a process printed during one job travels to the driver."""
LEFT_OUT = b"[%d bytes were left out here]\n"


def driver_log_path(study: Path) -> Path:
    """Return the log of a study's driver."""
    return logs_folder(study) / "driver.log"


def worker_log_path(study: Path, number: int, host: str = "") -> Path:
    """Return the log of a worker.

    Args:
        study: The study's folder.
        number: Of the worker, on its machine.
        host: Name of its machine, where that may be another one than the driver's.
    """
    name = re.sub(r"[^A-Za-z0-9._-]", "_", host)
    return logs_folder(study) / (f"worker-{name}-{number}.log" if name else f"worker-{number}.log")


def add_to_log(path: Path, text: bytes) -> None:
    """Write at the end of a log. A disk that takes nothing more costs what was to be written."""
    if not text:
        return
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size + len(text) > MOST_BYTES:
            path.replace(_before(path))
        with path.open("ab") as file:
            file.write(text)


def take_log(path: Path, most_bytes: int = TAKEN_BYTES) -> bytes:
    """Return the end of what a process has printed to a file, and empty the file. The process may go on printing.

    Args:
        path: The file, which the process has open for appending.
        most_bytes: What is returned at most; a line tells of the rest.
    """
    with contextlib.suppress(OSError), path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - most_bytes))
        found = file.read()
        file.truncate(0)
        left_out = size - most_bytes
        return (LEFT_OUT % left_out if left_out > 0 else b"") + found
    return b""


def trim_log(path: Path) -> None:
    """Leave the end of a log that a process prints to, where it has grown too large."""
    with contextlib.suppress(OSError):
        if path.stat().st_size > MOST_BYTES:
            end = take_log(path, MOST_BYTES // 2)
            with path.open("ab") as file:
                file.write(end)


def _before(path: Path) -> Path:
    return path.with_name(f"{path.name}.1")
