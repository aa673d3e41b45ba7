"""The lock of a study: two searches never write one study, be it from two hosts."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ...errors import StorageError, StudyOpen
from ...files import disk_errors, read_json, write_json

BEAT_S = 20.0
"""Seconds between two signs of life in the record of a lock's owner."""
DEAD_S = 90.0
"""An owner on another host that has given none for so long is dead, unless its record says another time."""


@contextlib.contextmanager
def locked(folder: Path, dead_s: float = DEAD_S) -> Iterator[Callable[[], None]]:
    """Have a study alone.

    The operating system's lock holds within a host, whatever becomes of its owner, and between containers on it. Some
    network disks do not pass locks on to other hosts. So the owner also leaves a record with its host's name, and
    renews it; one of another host that is renewed is believed.

    Args:
        folder: The study's folder, which is there.
        dead_s: Seconds without a sign of life after which others may take this process for dead.

    Yields:
        What raises StorageError once another host has taken the study over, because this process stood still.

    Raises:
        StudyOpen: Another search has the study.
        StorageError: The folder cannot be written.
    """
    lock = FileLock(folder / "lock")
    with disk_errors(folder):
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise StudyOpen(
                f"{folder}: another search has this study open{_who(_record(folder))}; wait for it, or use --fresh"
            ) from None
    try:
        # it is opened first: a network's disk then tells anew how old it is
        known, here = _record(folder), {**_here(), "dead_s": dead_s}
        if known.get("host") not in (None, here["host"]) and _age_s(folder) < _dead_s(known):
            raise StudyOpen(
                f"{folder}: another search has this study open{_who(known)}; wait for it, or use --fresh. If it has "
                f"died, run the same command again after {_dead_s(known):.0f} s"
            )
        write_json(_path(folder), here)
        done = threading.Event()
        beat = threading.Thread(target=_beat, args=(folder, here, done), daemon=True, name="study-lock")
        beat.start()
        try:
            yield functools.partial(_check_held, folder, here)
        finally:
            done.set()
            beat.join(1.0)
            if _record(folder) == here:  # not that of a host which took over while this one stood still
                with contextlib.suppress(OSError):
                    _path(folder).unlink()
    finally:
        lock.release()


def owner(folder: Path) -> dict[str, Any]:
    """Return who has a study open, without a try to open it: "name" of the machine and "process"; empty if nobody has.

    Args:
        folder: The study's folder.
    """
    with contextlib.suppress(OSError):
        known = _record(folder)
        if time.time() - _path(folder).stat().st_mtime < _dead_s(known):
            return known
    return {}


def _check_held(folder: Path, here: dict[str, Any]) -> None:
    try:
        known = read_json(_path(folder))
    except StorageError:
        return  # a disk that fails tells so itself
    if known != here and folder.is_dir():
        who = _who(known) if isinstance(known, dict) else ""
        raise StorageError(
            f"{folder}: another search took this study over{who} while this process stood still for more than "
            f"{here['dead_s']:.0f} s; it goes on there, with all trials that had ended"
        )


def _path(folder: Path) -> Path:
    return folder / "lock.json"


def _record(folder: Path) -> dict[str, Any]:
    with contextlib.suppress(StorageError):
        found = read_json(_path(folder))
        if isinstance(found, dict):
            return found
    return {}


def _here() -> dict[str, Any]:
    # containers of one host have names of their own, and share what its kernel was given at its start
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        boot = platform.node()
    return {"host": boot, "name": platform.node(), "process": os.getpid(), "since": time.time()}


def _dead_s(record: dict[str, Any]) -> float:
    """Return the seconds without a sign of life after which the owner is dead."""
    said = record.get("dead_s")
    return said if isinstance(said, float) and said > 0 else DEAD_S


def _who(record: dict[str, Any]) -> str:
    return f" (process {record['process']} on {record['name']})" if {"process", "name"} <= record.keys() else ""


def _age_s(folder: Path) -> float:
    # by the clock of the disk: those of two hosts may differ, and clocks are set
    probe = folder / f".part-clock-{os.getpid()}"
    try:
        probe.touch()
        return probe.stat().st_mtime - _path(folder).stat().st_mtime
    except OSError:
        return float("inf")
    finally:
        probe.unlink(missing_ok=True)


def _beat(folder: Path, here: dict[str, Any], done: threading.Event) -> None:
    while not done.wait(min(BEAT_S, BEAT_S * here["dead_s"] / DEAD_S)):
        with contextlib.suppress(OSError):
            if _record(folder) == here:
                os.utime(_path(folder))  # on a network's disk, the server's clock sets it
