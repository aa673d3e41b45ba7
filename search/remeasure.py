"""A study measured anew: its students are as good as they were, and the machine is another one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..compression.recover import Stopped
from ..errors import ExportError, MeasurementError, StorageError, TrialFailed, one_line
from ..evaluators.measurement import Measurement
from ..files import disk_errors, is_trouble, read_json, write_json
from ..spaces.plain import from_plain, to_plain
from ..spaces.target import PerTarget
from .evaluate.context import EvaluationContext
from .evaluate.gate import time_shape
from .objectives import objective_value
from .store.layout import model_path, remeasuring, remeasuring_path
from .store.trials import TrialStore
from .trial import Trial, TrialState

Say = Callable[[str], None]


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


class _Lost(Exception):
    """A model, or a shape, that cannot be measured any more, however often it is tried."""


def begin_remeasuring(folder: Path) -> None:
    """Note that all is to be measured anew, and forget the calibrations and longer looks of before.

    Nothing is read: a calibration may be damaged.

    Args:
        folder: The study's folder.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    if not remeasuring(folder):
        write_json(remeasuring_path(folder), to_plain(Note()))
    _forget(*folder.glob("targets/*/calibration.json"), folder / "confirmed.json")


def remeasure(
    context: EvaluationContext, store: TrialStore, objectives: tuple[str, ...], say: Say, stop: Callable[[], bool]
) -> None:
    """Measure the files of finished trials, and the shapes of those that wait, under the conditions of now.

    What was gated, stopped or failed stays so. A run that is ended meanwhile is gone on with by the next; where
    conditions have changed since, that one begins again, so that a study never mixes what two machines take. What
    cannot be measured is tried once more by the next run before it fails.

    Args:
        context: What this process has of the study, with the calibrations of now.
        store: The study's trials.
        objectives: Of the study.
        say: Takes a line about what is going on.
        stop: Whether to end early.

    Raises:
        Stopped: `stop()` came true.
        MeasurementError: Some could not be measured; nothing of them is lost.
        StorageError: The disk is full or cannot be written.
    """
    path = remeasuring_path(context.folder)
    note = _noted(path)
    now = {name: session.calibration.fingerprint for name, session in context.sessions.items()}
    trials = [t for t in (*store.ended(), *store.interrupted()) if t.finished or t.state is TrialState.WAITING]
    if note.left is None or note.conditions != now:
        if note.conditions:
            say("the machine is another one than a run before began to measure anew on: all models are measured again")
        note = Note(tuple(t.number for t in trials), now)
        write_json(path, to_plain(note))
        _forget(context.folder / "confirmed.json")
    todo = [t for t in trials if t.number in (note.left or ())]
    finished = sum(t.finished for t in todo)
    say(f"measuring {finished} finished models and {len(todo) - finished} waiting students anew")
    troubles = {}
    for trial in todo:
        if stop():
            raise Stopped
        try:
            _measure(context, store, objectives, trial, last=trial.number in note.failed)
        except MeasurementError as error:
            say(f"trial {trial.number} could not be measured anew: {one_line(error)}")
            troubles[trial.number] = one_line(error)
            note = replace(note, failed=(*note.failed, trial.number))
        else:
            note = replace(note, left=tuple(n for n in note.left or () if n != trial.number))
        write_json(path, to_plain(note))
    if troubles:
        number, why = next(iter(troubles.items()))
        raise MeasurementError(
            f"{len(troubles)} of {len(todo)} models could not be measured anew, the first that of trial {number} "
            f"({why}): run the same command again; the others are kept, and one that cannot be measured then counts as "
            "failed"
        )
    _forget(path)


def _noted(path: Path) -> Note:
    """Return the note; one of an earlier version, or a damaged one, stands for all trials."""
    try:
        return from_plain(Note, read_json(path))
    except StorageError as error:
        if is_trouble(error.__cause__):
            raise
    except ValueError:
        pass
    return Note()


def _measure(
    context: EvaluationContext, store: TrialStore, objectives: tuple[str, ...], trial: Trial, last: bool
) -> None:
    """Measure a trial anew, and write it.

    Args:
        context: What this process has of the study.
        store: The study's trials.
        objectives: Of the study.
        trial: Finished, or one that waits.
        last: Whether it fails if it cannot be measured now.

    Raises:
        MeasurementError: It cannot be measured now, and nothing was written.
    """
    try:
        found = _measured_anew(context, trial) if trial.finished else _gated_anew(context, trial)
    except (_Lost, MeasurementError) as error:
        if isinstance(error, MeasurementError) and not last:
            raise
        # what it took on another machine says nothing here
        reason = f"could not be measured anew: {error}"
        found = replace(trial, state=TrialState.FAILED, gate={}, measured={}, reason=reason)
    if trial.finished:
        values = [objective_value(name, found.measured) for name in objectives] if found.measured else None
        store.rewrite(found, values)
    elif found.state.ended:
        store.end(found, None, None)
    else:
        store.begin(found)


def _measured_anew(context: EvaluationContext, trial: Trial) -> Trial:
    sessions = context.sessions_for(trial.spec)
    measured: dict[str, Measurement] = {}
    for name, session in sessions.items():
        path = model_path(context.folder, trial.number, name, session.runtime.suffix, alone=len(sessions) == 1)
        if name not in trial.measured or not path.exists():
            raise _Lost(f"its file for {name} is gone")
        measured[name] = replace(trial.measured[name], latency=session.meter.measure([path])[0])
    return replace(trial, measured=measured, gate={name: file.latency for name, file in measured.items()})


def _gated_anew(context: EvaluationContext, trial: Trial) -> Trial:
    try:
        return replace(trial, gate=time_shape(context, trial.spec).latencies)
    except (TrialFailed, ExportError) as error:
        raise _Lost(one_line(error)) from error


def _forget(*paths: Path) -> None:
    for path in paths:
        with disk_errors(path):
            path.unlink(missing_ok=True)
