"""Folders for what is needed for a moment. What killed processes left of them is swept."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

if sys.platform != "win32":
    import fcntl

PREFIX = "autocompress-tmp-"
OWNER = ".owner"
"""A file in each folder. Whoever uses the folder holds its lock, which the system drops however a process ends."""

YOUNG_S = 5.0
"""A folder that was just made may not be locked yet."""


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """Make a folder, and remove it afterwards."""
    with tempfile.TemporaryDirectory(prefix=PREFIX) as name:
        folder = Path(name)
        with (folder / OWNER).open("wb") as owner:
            if sys.platform != "win32":
                fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield folder


def sweep_temporary() -> None:
    """Remove the folders of this user whose processes have ended. Where they cannot be told, they stay."""
    if sys.platform == "win32":
        return
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            state = folder.lstat()
            if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.getuid() or time.time() < state.st_mtime + YOUNG_S:
                continue
            if not any(folder.iterdir()):  # its process was killed before it took the folder, or as it removed it
                folder.rmdir()
                continue
            handle = os.open(folder / OWNER, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(handle)
