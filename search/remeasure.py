"""A study measured anew: its students are as good as they were, and the machine is another one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from ..compression.recover import Stopped
from ..errors import ExportError, MeasurementError, TrialFailed, one_line
from ..evaluators.measurement import Measurement
from ..files import disk_errors
from .evaluate.context import EvaluationContext
from .evaluate.gate import time_shape
from .objectives import objective_value
from .report.looks import read_looks, write_looks
from .store.layout import model_path, remeasuring, remeasuring_path
from .store.to_measure import Note, read_note, write_note
from .store.trials import TrialStore
from .trial import Trial, TrialState

Say = Callable[[str], None]


class _Gone(MeasurementError):
    """A file that is not there, which says nothing of the machine."""


def begin_remeasuring(folder: Path) -> None:
    """Note that all is to be measured anew, and forget the calibrations, shapes and profiles of before.

    Nothing is read: a calibration may be damaged.

    Args:
        folder: The study's folder.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    if not remeasuring(folder):
        write_note(folder, Note())
    known = (*folder.glob("targets/*/calibration.json"), *folder.glob("targets/*/latency/*.json"))
    _forget(*known, folder / "profiles.json")


def remeasure(
    context: EvaluationContext, store: TrialStore, objectives: tuple[str, ...], say: Say, stop: Callable[[], bool]
) -> None:
    """Measure the files of finished trials, and the shapes of those that wait, under the conditions of now.

    What was stopped at the gate stays so, and what the gate measured is forgotten: such a plan may be proposed again. A
    run that is ended meanwhile is gone on with by the next; where conditions have changed since, that one begins again,
    so that a study never mixes what two machines take. What cannot be measured is tried once more by the next run
    before it fails, and fails in a run alone in which the teacher's file can be measured.

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
    folder = context.folder
    note = read_note(folder) or Note()
    now = {name: session.calibration.fingerprint for name, session in context.sessions.items()}
    ended = store.ended()
    trials = [t for t in (*ended, *store.interrupted()) if t.finished or t.state is TrialState.WAITING]
    if note.left is None or note.conditions != now:
        if note.conditions:
            say("the machine is another one than a run before began to measure anew on: all models are measured again")
        _forget_gates(store, ended)
        note = Note(tuple(t.number for t in trials), now)
        write_note(folder, note)
    todo = [t for t in trials if t.number in (note.left or ())]
    finished = sum(t.finished for t in todo)
    say(f"measuring {finished} finished models and {len(todo) - finished} waiting students anew")
    troubles: dict[int, str] = {}
    sound: set[str] = set()  # targets that something was measured on, since something could not be
    for trial in todo:
        if stop():
            raise Stopped
        names = set(context.sessions_for(trial.spec))
        try:
            found = _measured_anew(context, trial) if trial.finished else _gated_anew(context, trial)
        except MeasurementError as error:
            reason = one_line(error)
            if not isinstance(error, _Gone):
                sound -= names
            _check_teacher(context, names - sound, f"trial {trial.number} could not be measured anew ({reason})")
            if trial.number not in note.failed:
                say(f"trial {trial.number} could not be measured anew: {reason}")
                troubles[trial.number] = reason
                note = replace(note, failed=(*note.failed, trial.number))
                write_note(folder, note)
                sound |= names
                continue
            # what it took on another machine says nothing here
            reason = f"could not be measured anew: {reason}"
            found = replace(trial, state=TrialState.FAILED, gate={}, measured={}, reason=reason)
        sound |= names
        _write(store, objectives, trial, found)
        _keep_test_score(folder, found)
        note = replace(note, left=tuple(n for n in note.left or () if n != trial.number))
        write_note(folder, note)
    if troubles:
        number, why = next(iter(troubles.items()))
        raise MeasurementError(
            f"{len(troubles)} of {len(todo)} models could not be measured anew, the first that of trial {number} "
            f"({why}): put right what can be, and run the same command again; the others are kept, and one that cannot "
            "be measured then counts as failed"
        )
    _forget(remeasuring_path(folder))


def _forget_gates(store: TrialStore, ended: Iterable[Trial]) -> None:
    """Forget what gates measured of trials that are not measured anew: on this machine it may be another latency."""
    for trial in ended:
        if trial.gate and not trial.finished:
            before = ", before the study was measured anew" if trial.state is TrialState.GATED else ""
            store.rewrite(replace(trial, gate={}, reason=f"{trial.reason}{before}"), None)


def _measured_anew(context: EvaluationContext, trial: Trial) -> Trial:
    sessions = context.sessions_for(trial.spec)
    measured: dict[str, Measurement] = {}
    for name, session in sessions.items():
        path = model_path(context.folder, trial.number, name, session.runtime.suffix, alone=len(sessions) == 1)
        if name not in trial.measured or not path.exists():
            raise _Gone(f"its file for {name} is gone")
        measured[name] = replace(trial.measured[name], latency=session.meter.measure([path])[0])
    return replace(trial, measured=measured, gate={name: file.latency for name, file in measured.items()})


def _gated_anew(context: EvaluationContext, trial: Trial) -> Trial:
    try:
        return replace(trial, gate=time_shape(context, trial.spec).latencies)
    except (TrialFailed, ExportError) as error:
        raise MeasurementError(one_line(error)) from error


def _check_teacher(context: EvaluationContext, names: Iterable[str], what: str) -> None:
    """Refuse to go on where even the teacher's file cannot be measured: that is no trial's fault.

    Args:
        context: What this process has of the study.
        names: Of targets.
        what: What could not be done, in words.

    Raises:
        MeasurementError: It cannot be measured on one of these targets.
    """
    for name in names:
        meter = context.sessions[name].meter
        try:
            meter.measure([meter.reference])
        except MeasurementError as error:
            raise MeasurementError(
                f"{what}, and neither can the teacher's own file on {name} ({one_line(error)}): no trial has failed by "
                "it; see what is wrong with the machine, and run the same command again"
            ) from error


def _write(store: TrialStore, objectives: tuple[str, ...], before: Trial, found: Trial) -> None:
    if before.finished:
        store.rewrite(found, [objective_value(name, found.measured) for name in objectives] if found.measured else None)
    elif found.state.ended:
        store.end(found, None, None)
    else:
        store.begin(found)


def _keep_test_score(folder: Path, trial: Trial) -> None:
    """Keep what a longer look of before says of the test split, with the latency of now: files are scored there once.

    One quick measurement is no longer look: the next confirmation takes that anew.
    """
    looks = read_looks(folder)
    look = looks.pop(trial.number, None)
    if look is None:
        return
    now = {name: file.latency for name, file in trial.measured.items()}
    files = {name: replace(file, latency=now[name], anew=None) for name, file in look.files.items() if name in now}
    if files:
        looks[trial.number] = replace(look, files=files)
    write_looks(folder, looks)


def _forget(*paths: Path) -> None:
    for path in paths:
        with disk_errors(path):
            path.unlink(missing_ok=True)
