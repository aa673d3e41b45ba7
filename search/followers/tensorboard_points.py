"""Points of trials in TensorBoard's event files: which are there, and how a driver takes back its own."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...files import write_bytes
from .base import EndedTrial

EVENTS = "events.out.tfevents.*"
Point = tuple[str, int]
"""Name of a curve, and a step of it."""


def points_of(trial: EndedTrial, root: Path, but: str = "") -> set[Point]:
    """Return which of a trial's points the curves have already.

    Args:
        trial: The trial.
        root: The study's own folder.
        but: How the names of files end that are left out; none are if empty.
    """
    found = set()
    for path in _files(root):
        for event in () if but and path.name.endswith(but) else map(_event, _records(path)):
            if _is_of(event, trial):
                found |= {(value.tag, event.step) for value in event.summary.value}
    return found


def take_back(trial: EndedTrial, root: Path, own: str) -> None:
    """Take a trial's points out of this driver's own file that another driver wrote as well.

    Args:
        trial: The trial.
        root: The study's own folder.
        own: How the name of the file ends, which nobody writes now.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    theirs = points_of(trial, root, but=own)
    for path in _files(root):
        if not path.name.endswith(own):
            continue
        kept = [record for record in _records(path) if not _is_double(_event(record), trial, theirs)]
        write_bytes(path, _written(kept))


def _is_of(event: Any, trial: EndedTrial) -> bool:
    return bool(trial.number == event.step or trial.ended_at_s == event.wall_time)


def _is_double(event: Any, trial: EndedTrial, theirs: set[Point]) -> bool:
    found = {(value.tag, event.step) for value in event.summary.value}
    return _is_of(event, trial) and bool(found) and found <= theirs


def _files(root: Path) -> list[Path]:
    return sorted(root.glob(EVENTS))


def _records(path: Path) -> Iterator[bytes]:
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader

    yield from RawEventFileLoader(str(path)).Load()


def _event(record: bytes) -> Any:
    from tensorboard.compat.proto.event_pb2 import Event

    return Event.FromString(record)


def _written(records: list[bytes]) -> bytes:
    from tensorboard.summary.writer.record_writer import RecordWriter

    held = io.BytesIO()
    writer = RecordWriter(held)
    for record in records:
        writer.write(record)
    return held.getvalue()
