"""What of a study is still to be measured anew, while that is under way: its other figures are of another machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...errors import StorageError
from ...files import is_trouble, read_json, write_json
from ...spaces.plain import from_plain, to_plain
from ...spaces.target import PerTarget
from ..trial import Trial
from .layout import remeasuring, remeasuring_path
from .scale import Scale


@dataclass(frozen=True)
class Note:
    """What is still to be measured anew.

    Attributes:
        left: Numbers of trials; None for all that there are.
        conditions: Fingerprints of those under which the others were, by target.
        failed: Numbers of those in `left` that could not be measured once.
    """

    left: tuple[int, ...] | None = None
    conditions: PerTarget[str] = field(default_factory=dict)
    failed: tuple[int, ...] = ()


def read_note(folder: Path) -> Note | None:
    """Return what is still to be measured anew, None where nothing is.

    A note of an earlier version, or a damaged one, stands for all trials.

    Raises:
        StorageError: The disk cannot be read.
    """
    if not remeasuring(folder):
        return None
    try:
        return from_plain(Note, read_json(remeasuring_path(folder)))
    except StorageError as error:
        if is_trouble(error.__cause__):
            raise
    except ValueError:
        pass
    return Note()


def write_note(folder: Path, note: Note) -> None:
    """Keep what is still to be measured anew.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    write_json(remeasuring_path(folder), to_plain(note))


def still_to_measure(folder: Path, trials: Sequence[Trial], scale: Scale) -> dict[int, str]:
    """Return the finished trials that are still to be measured anew, with the reason why nothing is shown of them.

    Args:
        folder: The study's folder.
        trials: Its trials.
        scale: Its calibrations of now.

    Raises:
        StorageError: The disk cannot be read.
    """
    note = read_note(folder)
    if note is None:
        return {}
    now = {name: calibration.fingerprint for name, calibration in scale.calibrations.items()}
    begun_elsewhere = any(now.get(name) != known for name, known in note.conditions.items())
    left = None if note.left is None or begun_elsewhere else set(note.left)
    found = [trial.number for trial in trials if trial.finished and (left is None or trial.number in left)]
    return {n: f"trial {n} is still to be measured anew: run the search again, which goes on with that" for n in found}
