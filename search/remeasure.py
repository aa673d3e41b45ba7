"""A study measured anew: its students are as good as they were, and the machine is another one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ..compression.recover import Stopped
from ..errors import MeasurementError, TrialFailed
from ..evaluators.measurement import Measurement
from ..files import read_json, write_json
from .evaluate.context import EvaluationContext
from .evaluate.gate import time_shape
from .objectives import objective_value
from .store.layout import model_path, remeasuring, remeasuring_path
from .store.trials import TrialStore
from .trial import Trial, TrialState

Say = Callable[[str], None]


def begin_remeasuring(folder: Path, store: TrialStore) -> None:
    """Note which trials are to be measured anew, and forget the calibrations and longer looks of before.

    Args:
        folder: The study's folder.
        store: Its trials.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    if not remeasuring(folder):
        trials = [*store.ended(), *store.interrupted()]
        write_json(remeasuring_path(folder), [t.number for t in trials if t.finished or t.state is TrialState.WAITING])
    for path in (*folder.glob("targets/*/calibration.json"), folder / "confirmed.json"):
        path.unlink(missing_ok=True)


def remeasure(
    context: EvaluationContext, store: TrialStore, objectives: tuple[str, ...], say: Say, stop: Callable[[], bool]
) -> None:
    """Measure the files of finished trials, and the shapes of those that wait, under the conditions of now.

    What was gated, stopped or failed stays so. A run that is ended meanwhile is gone on with by the next.

    Args:
        context: What this process has of the study, with the calibrations of now.
        store: The study's trials.
        objectives: Of the study.
        say: Takes a line about what is going on.
        stop: Whether to end early.

    Raises:
        Stopped: `stop()` came true.
        StorageError: The disk is full or cannot be written.
    """
    path = remeasuring_path(context.folder)
    left = set(read_json(path) or [])
    ended = [trial for trial in store.ended() if trial.number in left]
    waiting = [trial for trial in store.interrupted() if trial.number in left]
    say(f"measuring {len(ended)} finished models and {len(waiting)} waiting students anew")
    for trial in (*ended, *waiting):
        if stop():
            raise Stopped
        if trial.finished:
            found = _measured_anew(context, trial)
            values = [objective_value(name, found.measured) for name in objectives] if found.measured else None
            store.rewrite(found, values)
        else:
            store.begin(_gated_anew(context, trial))
        left.discard(trial.number)
        write_json(path, sorted(left))
    path.unlink()


def _measured_anew(context: EvaluationContext, trial: Trial) -> Trial:
    sessions = context.sessions_for(trial.spec)
    measured: dict[str, Measurement] = {}
    try:
        for name, session in sessions.items():
            path = model_path(context.folder, trial.number, name, session.runtime.suffix, alone=len(sessions) == 1)
            measured[name] = replace(trial.measured[name], latency=session.meter.measure([path])[0])
    except (MeasurementError, KeyError) as error:
        # what it took on another machine says nothing here
        return replace(trial, state=TrialState.FAILED, measured={}, reason=f"could not be measured anew: {error}")
    return replace(trial, measured=measured, gate={name: file.latency for name, file in measured.items()})


def _gated_anew(context: EvaluationContext, trial: Trial) -> Trial:
    try:
        return replace(trial, gate=time_shape(context, trial.spec).latencies)
    except (MeasurementError, TrialFailed):
        return trial  # its next job fails, and says why
