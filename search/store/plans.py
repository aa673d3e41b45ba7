"""What the files in a trial's folder say of it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from ...errors import StorageError, one_line
from ...evaluators.measurement import Measurement
from ...files import disk_errors, is_trouble, read_json, write_json
from ...remarks import remark
from ...spaces.plain import from_plain
from ..trial import Trial, TrialState
from .layout import trial_folder

ASIDE = "plan.json.unreadable"


def read_plans(folder: Path, known: Collection[int] = ()) -> list[Trial]:
    """Return every trial as its `plan.json` says that it stood last, by number.

    A file that is cut, or that another version wrote, is put aside under another name and said: it costs its trial.

    Args:
        folder: The study's folder.
        known: Numbers of trials that are left out: thousands take a minute to be read.

    Raises:
        StorageError: The disk cannot be read or written.
    """
    found = []
    for path in (folder / "trials").glob("*/plan.json"):
        if not path.parent.name.isdigit() or int(path.parent.name) in known:
            continue
        try:
            trial = from_plain(Trial, read_json(path))
            if trial.number != int(path.parent.name):
                raise ValueError(f"it is that of trial {trial.number}")
        except (StorageError, ValueError) as error:
            if is_trouble(error.__cause__):
                raise  # the plan may be whole
            with disk_errors(path):
                path.replace(path.with_name(ASIDE))
            number = int(path.parent.name)
            remark(
                f"{path}: trial {number} cannot be read and is left out ({one_line(error)[:120]}); put aside as {ASIDE}"
            )
        else:
            found.append(trial)
    return sorted(found, key=lambda trial: trial.number)


def begin_plans(folder: Path, records: Mapping[int, str]) -> None:
    """Write the plans that drivers left which died before they had written them.

    Args:
        folder: The study's folder.
        records: Number -> the trial as text, as others knew it; empty where they did not.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    for number, record in records.items():
        path = trial_folder(folder, number) / "plan.json"
        if record and not path.exists():
            write_json(path, json.loads(record))


def plan_key(trial: Trial) -> str:
    """Return what drivers know a trial's plan by."""
    return f"{trial.technique}|{trial.after}|{trial.spec.key()}"


def finished_by_files(folder: Path, plan: Trial) -> Trial:
    """Return a trial as finished where its measurements are there, though its plan does not say so.

    Args:
        folder: The study's folder.
        plan: The trial as its plan has it.
    """
    path = trial_folder(folder, plan.number) / "measurement.json"
    if plan.state.ended:
        return plan
    try:
        data = read_json(path)
        measured: Mapping[str, Measurement] = from_plain(dict[str, Measurement], data) if data else {}
    except (StorageError, ValueError):
        return plan
    return replace(plan, state=TrialState.FINISHED, measured=measured) if measured else plan
