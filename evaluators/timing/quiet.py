"""The quiet rule: nothing works on a device of this machine while a latency is measured there.

Training is the work that lasts longest, and so gave the slices their name; building, scoring, sensitivities and
proposals are done in such slices too (see `breathing`).

Readers and writers over two lock files, with the writer first. A training slice passes the turnstile and stays in
the room; a measurement closes the turnstile, so that no new slice comes in, and waits until the room is empty.
The operating system drops both locks with the process that held them, however it ended. A measurement that waits for a
minute goes on beside whoever holds them, and says so.
"""

from __future__ import annotations

import getpass
import math
import os
import re
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from ...cache import user_cache
from ...errors import MeasurementError
from .holders import holders

if sys.platform == "win32":
    from filelock import FileLock, Timeout
else:
    import fcntl


PATIENCE_SECONDS = 60.0
TOLD_SECONDS = 20.0
"""Seconds of waiting after which it is said who is waited for."""


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

    def __init__(
        self,
        device: str = "cpu",
        folder: Path | None = None,
        say: Callable[[str], None] | None = None,
        patience_s: float = PATIENCE_SECONDS,
    ) -> None:
        """Take no lock yet.

        Args:
            device: The device that is measured. A trainer names it too, even if it trains on another one: a training
                on the GPU keeps the CPU busy.
            folder: Where the lock files lie, by default the system's temporary folder.
            say: Takes a line about a wait that takes long; by default it goes to standard error.
            patience_s: Seconds after which a measurement goes on without the device to itself.
        """
        name = lock_name(device)
        self._folder = folder or own_folder()
        self._turnstile = self._folder / f"{name}.turnstile"
        self._room = self._folder / f"{name}.room"
        self._mine = threading.local()
        self._say, self._patience_s = say or _complain, patience_s

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
                with self._locked(self._turnstile, shared=True):
                    staying.enter_context(self._locked(room, shared=True))
                yield

    @contextmanager
    def measuring(self) -> Iterator[str]:
        """Have the device alone: wait until the training slices under way are over, and let no new one start.

        After a minute of waiting the measurement goes on beside whoever holds the device.

        Yields:
            Who holds the device too, in words; empty where nobody does.

        Raises:
            RuntimeError: This thread holds the device already.
        """
        ends_s = time.monotonic() + self._patience_s
        with self._not_nested(), self._locked(self._turnstile, False, ends_s) as before:
            if sys.platform == "win32":
                beside = [before]
                for room in self._folder.glob(f"{self._room.name}-*"):
                    with self._locked(room, False, ends_s) as held:
                        beside.append(held)
                yield next(filter(None, beside), "")
            else:
                with self._locked(self._room, False, ends_s) as beside_it:
                    yield before or beside_it

    @contextmanager
    def _locked(self, path: Path, shared: bool, ends_s: float = math.inf) -> Iterator[str]:
        """Hold a lock; yield who holds it instead where it is not free in time.

        Args:
            path: The lock file.
            shared: Whether others may hold it too.
            ends_s: When waiting ends, on the monotonic clock.
        """
        with ExitStack() as held:
            lock = _Lock(path, shared)
            held.callback(lock.close)
            began_s, said = time.monotonic(), False
            pause_s = 0.001
            while not lock.taken():
                now_s = time.monotonic()
                if now_s >= ends_s:
                    by = holders(path)
                    self._say(f"measuring beside {by}, which has held {path.stem} for {now_s - began_s:.0f} s")
                    yield f"measured beside {by}, which did not let go of the device"
                    return
                if not said and now_s - began_s > TOLD_SECONDS:
                    said = True
                    self._say(f"waiting for {holders(path)}, which holds the lock {path}")
                pause_s = min(2 * pause_s, 0.02)
                time.sleep(pause_s)
            yield ""

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


class _Lock:
    """A lock on a file, which is opened anew each time: flock belongs to the open file, so threads have their own."""

    def __init__(self, path: Path, shared: bool) -> None:
        self._shared = shared
        if sys.platform == "win32":
            self._lock = FileLock(path)
        else:
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

    def taken(self) -> bool:
        """Try to take it."""
        if sys.platform == "win32":
            try:
                self._lock.acquire(timeout=0)
            except Timeout:
                return False
            return True
        try:
            fcntl.flock(self._handle, (fcntl.LOCK_SH if self._shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Let go of it."""
        if sys.platform == "win32":
            self._lock.release()
            return
        # said aloud, because a worker forked meanwhile still has this file open
        fcntl.flock(self._handle, fcntl.LOCK_UN)
        os.close(self._handle)


def _complain(line: str) -> None:
    print(f"autocompress: {line}", file=sys.stderr, flush=True)
