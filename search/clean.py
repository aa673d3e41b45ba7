"""Checkpoints that nothing can need any more: which they are, and taking them away.

Kept are the weights of every finished student (it can be exported, start others, and share its training with students
of other bits) and of every student that may still go on. A student that waits and loses its checkpoint is not lost: if
its turn comes after all, it is trained from the start.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..files import PARTIAL, disk_errors, remove
from .evaluate.checkpoints import checkpoint_path
from .objectives import objective_value
from .pareto import non_dominated
from .promotion import Promotion, lead
from .store.layout import checkpoints_folder
from .trial import Trial, TrialState

UNFINISHED = "unfinished, or locks that nobody holds"
NOBODYS = "of no student that goes on or is finished"
HOPELESS = "of students that wait and cannot come to the front"
LAST = "of students that wait, those that would go on last"
ENOUGH_GAINS = 8
"""So many students must have been taught to their end before one that waits is taken for hopeless."""


@dataclass(frozen=True)
class Spare:
    """A file that can go.

    Attributes:
        path: The file, or folder.
        size_bytes: What it takes.
        why: Why it can go, one of a few phrases.
    """

    path: Path
    size_bytes: int
    why: str


def spare_files(
    folder: Path, ended: Sequence[Trial], unfinished: Sequence[Trial], promotion: Promotion, running: bool = False
) -> list[Spare]:
    """Return what can go, without taking it away.

    Args:
        folder: The study's folder.
        ended: Its trials that ended.
        unfinished: Those that run or wait.
        promotion: How students go from rung to rung.
        running: Whether a search has the study open: its locks and unfinished files stay then.
    """
    found = [] if running else list(_unfinished(folder))
    needed = _needed(folder, ended, promotion)
    given_up = {_key(t) for t in hopeless(ended, unfinished, promotion)}
    going_on = {_key(t) for t in unfinished} - given_up
    for path in _checkpoints(folder):
        key = path.name.split("-")[0]
        if path.name in needed or key in going_on:
            continue
        found.append(Spare(path, _size_bytes(path), HOPELESS if key in given_up else NOBODYS))
    return found


def hopeless(ended: Sequence[Trial], unfinished: Sequence[Trial], promotion: Promotion) -> list[Trial]:
    """Return the students that wait and cannot come to the front by anything that was seen in this study.

    A finished model costs no more in any other objective, and its metric leads beyond chance even if the student gained
    as much from its rung on as the luckiest one did. Students of one training are judged together.
    """
    finished = [(objective_value("accuracy", t.measured), promotion.other_costs(t)) for t in ended if _is_compared(t)]
    finished = [finished[i] for i in non_dominated([(-quality, *cost) for quality, cost in finished])]
    waiting = [t for t in unfinished if _waits(t)]
    hopes = {t.number: _hope(t, ended, promotion) for t in waiting}
    lost = {
        t.number
        for t in waiting
        if (hope := hopes[t.number]) is not None
        and any(
            quality - hope > lead(quality, hope, promotion.examples)
            and all(a <= b for a, b in zip(cost, promotion.other_costs(t), strict=True))
            for quality, cost in finished
        )
    }
    kept = {_key(t) for t in unfinished if t.number not in lost}
    return [t for t in waiting if t.number in lost and _key(t) not in kept]


def take_away(spare: Iterable[Spare]) -> int:
    """Remove these files; return the bytes that were freed.

    Raises:
        StorageError: The disk cannot be written.
    """
    freed = 0
    for file in spare:
        with disk_errors(file.path):
            remove(file.path)
        freed += file.size_bytes
    return freed


def checkpoint_bytes(folder: Path) -> int:
    """Return what all checkpoints of a study take."""
    return sum(map(_size_bytes, _checkpoints(folder)))


def waiting_checkpoints(
    folder: Path, ended: Sequence[Trial], unfinished: Sequence[Trial], promotion: Promotion
) -> list[Spare]:
    """Return the checkpoints of students that wait, those first that would go on last: the least accurate ones."""
    busy = {_key(t) for t in unfinished if not _waits(t)}
    needed = _needed(folder, ended, promotion)
    rank = {_key(t): (len(t.rungs), t.rungs[-1]) for t in unfinished if _waits(t) and _key(t) not in busy}
    own: dict[str, list[Path]] = {}
    for path in _checkpoints(folder):
        if (key := path.name.split("-")[0]) in rank and path.name not in needed:
            own.setdefault(key, []).append(path)
    return [Spare(p, _size_bytes(p), LAST) for key in sorted(own, key=lambda key: rank[key]) for p in own[key]]


def _unfinished(folder: Path) -> Iterator[Spare]:
    for path in folder.rglob(f"{PARTIAL}*"):
        parts = path.rglob("*") if path.is_dir() else (path,)
        yield Spare(path, sum(map(_size_bytes, parts)), UNFINISHED)
    for path in checkpoints_folder(folder).glob("*.lock"):
        yield Spare(path, 0, UNFINISHED)


def _needed(folder: Path, ended: Sequence[Trial], promotion: Promotion) -> set[str]:
    """Return the names of the checkpoints that finished students ended with."""
    last = len(promotion.rungs) - 1
    done = (t for t in ended if t.finished and t.spec.recovery is not None)
    names = {checkpoint_path(folder, t.spec, last, t.warm_start).name for t in done}
    return names | {t.warm_start.checkpoint for t in ended if t.finished and t.warm_start is not None}


def _checkpoints(folder: Path) -> list[Path]:
    # pathlib's patterns match hidden names too: what a worker is writing ends alike
    return sorted(p for p in checkpoints_folder(folder).glob("*.pt") if not p.name.startswith(PARTIAL))


def _size_bytes(path: Path) -> int:
    """Return the size of a file; 0 where there is none, or none any more: workers write and remove files meanwhile."""
    with suppress(FileNotFoundError):
        found = path.stat()
        return found.st_size if stat.S_ISREG(found.st_mode) else 0
    return 0


def _key(trial: Trial) -> str:
    """Return what the names of a student's checkpoints begin with."""
    return trial.spec.training_key()


def _waits(trial: Trial) -> bool:
    return bool(trial.rungs) and trial.state is TrialState.WAITING and not trial.to_its_end


def _is_compared(trial: Trial) -> bool:
    return trial.finished and bool(trial.gate) and bool(trial.measured)


def _hope(trial: Trial, ended: Sequence[Trial], promotion: Promotion) -> float | None:
    """Return the metric that a student would have with the largest gain that was seen; None while too few are known."""
    at = len(trial.rungs) - 1
    taught = [t for t in ended if t.finished and len(t.rungs) == len(promotion.rungs)]
    if len(taught) < ENOUGH_GAINS:
        return None
    gain = max(max(t.rungs[-1], objective_value("accuracy", t.measured)) - t.rungs[at] for t in taught)
    return trial.rungs[-1] + max(0.0, gain)
