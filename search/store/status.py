"""How a running search stands, in a file of its study that anybody may read."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...errors import StorageError
from ...files import read_json, write_json
from ...spaces.plain import from_plain, to_plain
from ..pace import Snapshot
from ..worker_state import WorkerState, by_host
from .lease_tables import Living
from .lock import owner

FILE = "status.json"
EVERY_S = 5.0
"""Seconds between two notes of how a search stands."""


@dataclass(frozen=True)
class Status:
    """How a search stands.

    Attributes:
        at_s: When, in seconds since 1970.
        host: Name of its machine.
        process: Its number there.
        doing: What each job is doing.
        waiting: Students that wait at a rung.
        elapsed_s: Seconds since the search began, of this run.
        time_left_s: Seconds that it has left; None without an end.
        workers: What each worker does, as far as the executor tells.
    """

    at_s: float
    host: str
    process: int
    doing: tuple[str, ...]
    waiting: int
    elapsed_s: float
    time_left_s: float | None = None
    workers: tuple[WorkerState, ...] = ()

    @property
    def queued(self) -> int | None:
        """Number of jobs that no worker has begun; None where nobody tells."""
        if not self.workers:
            return None
        return max(0, len(self.doing) - sum(worker.trial is not None for worker in self.workers))


@dataclass
class StatusKeeper:
    """Notes how a search stands, every few seconds.

    Attributes:
        folder: The study's folder.
        workers: Returns what each worker does.
    """

    folder: Path
    workers: Callable[[], Sequence[WorkerState]] = tuple
    _noted_s: float = field(default=float("-inf"), init=False)

    def look(self, snapshot: Snapshot, time_left_s: float | None) -> None:
        """Note how the search stands, unless that was done just now. A disk that takes no note ends no search."""
        if time.monotonic() - self._noted_s < EVERY_S:
            return
        self._noted_s = time.monotonic()
        now = Status(
            time.time(),
            platform.node(),
            os.getpid(),
            tuple(snapshot.running),
            snapshot.waiting,
            snapshot.elapsed_s,
            time_left_s,
            tuple(by_host(self.workers())),
        )
        with contextlib.suppress(StorageError):
            write_json(self.folder / FILE, to_plain(now))


def read_status(folder: Path, drivers: Sequence[Living]) -> Status | None:
    """Return how the search of a study stands; None where none runs, or none has noted it yet.

    Args:
        folder: The study's folder.
        drivers: Those that have it open.
    """
    try:
        kept = read_json(folder / FILE)
        found = None if kept is None else from_plain(Status, kept)
    except (StorageError, ValueError):
        return None
    keeper = next((driver for driver in drivers if driver.keeper), None)
    if found is None or keeper is None:
        return None
    # a note of an earlier search may have the same number of a process, as containers count theirs from 1
    lock = owner(folder)
    since_s = lock.get("since", 0.0) if lock.get("process") == keeper.process else 0.0
    return found if found.process == keeper.process and found.at_s >= since_s else None
