"""The quiet rule: nothing trains on a device of this machine while a latency is measured there.

Readers and writers over two lock files, with the writer first. A training slice passes the turnstile and stays in
the room; a measurement closes the turnstile, so that no new slice comes in, and waits until the room is empty.
The operating system drops both locks with the process that held them, however it ended.
"""

from __future__ import annotations

import getpass
import os
import re
import stat
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from ...cache import user_cache
from ...errors import MeasurementError

if sys.platform == "win32":
    from filelock import FileLock
else:
    import fcntl


def lock_name(device: str) -> str:
    """Return the name of a device's locks; "cuda" and "tensorrt" are two names of one GPU.

    Whoever takes the locks of several devices takes each name once, in alphabetical order, so that no two wait for
    each other.
    """
    return "cuda" if device in ("cuda", "tensorrt") else re.sub(r"\W+", "_", device)


def own_folder() -> Path:
    """Return the folder of this user's locks: one in the system's temporary folder, unless somebody else made it.

    Its name can be guessed, and whoever holds a lock in it keeps all measurements of this user waiting.

    Raises:
        MeasurementError: Neither that folder nor one in the user's cache can be had.
    """
    user = getpass.getuser() if sys.platform == "win32" else str(os.getuid())
    for folder in (Path(tempfile.gettempdir()) / f"autocompress-quiet-{user}", user_cache() / "quiet"):
        with suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if _is_own(folder):
                return folder
    raise MeasurementError(f"{folder} cannot hold the locks of measurements; set TMPDIR to a folder of your own")


def _is_own(folder: Path) -> bool:
    """Tell whether a folder is one, not a link, and belongs to this user, who alone may write there."""
    if sys.platform == "win32":
        return folder.is_dir()
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        return False
    if found.st_mode & 0o022:
        folder.chmod(0o700)
    return True


class QuietMachine:
    """The locks of one device of this machine, shared by all processes of this user.

    The two context managers must not be nested in one thread: that is a RuntimeError instead of a deadlock.
    """

    def __init__(self, device: str = "cpu", folder: Path | None = None) -> None:
        """Take no lock yet.

        Args:
            device: The device that is measured. A trainer names it too, even if it trains on another one: a training
                on the GPU keeps the CPU busy.
            folder: Where the lock files lie, by default the system's temporary folder.
        """
        name = lock_name(device)
        self._folder = folder or own_folder()
        self._turnstile = self._folder / f"{name}.turnstile"
        self._room = self._folder / f"{name}.room"
        self._mine = threading.local()

    @contextmanager
    def training_slice(self) -> Iterator[None]:
        """Hold the device for a few hundred milliseconds of training.

        This blocks while a latency is measured; otherwise it costs some ten microseconds.

        Raises:
            RuntimeError: This thread holds the device already.
        """
        with self._not_nested():
            room = self._room
            if sys.platform == "win32":
                # Locks cannot be shared there, so every trainer has a room of its own.
                room = room.with_suffix(f".room-{os.getpid()}-{threading.get_ident()}")
            with ExitStack() as staying:
                with _locked(self._turnstile, shared=True):
                    staying.enter_context(_locked(room, shared=True))
                yield

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Have the device alone: wait until the training slices under way are over, and let no new one start.

        Raises:
            RuntimeError: This thread holds the device already.
        """
        with self._not_nested(), _locked(self._turnstile, shared=False):
            if sys.platform == "win32":
                for room in self._folder.glob(f"{self._room.name}-*"):
                    with _locked(room, shared=False):
                        pass
                yield
            else:
                with _locked(self._room, shared=False):
                    yield

    @contextmanager
    def _not_nested(self) -> Iterator[None]:
        if getattr(self._mine, "inside", False):
            raise RuntimeError("training_slice() and measuring() cannot be nested in one thread")
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _is_own(self._folder):
            raise MeasurementError(f"{self._folder} came to belong to another user; set TMPDIR to a folder of your own")
        self._mine.inside = True
        try:
            yield
        finally:
            self._mine.inside = False


@contextmanager
def _locked(path: Path, shared: bool) -> Iterator[None]:
    if sys.platform == "win32":
        with FileLock(path):
            yield
        return
    # A file opened anew each time: flock belongs to the open file, so threads get locks of their own.
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        try:
            yield
        finally:
            # Said aloud, because a worker forked meanwhile still has this file open.
            fcntl.flock(handle, fcntl.LOCK_UN)
    finally:
        os.close(handle)
