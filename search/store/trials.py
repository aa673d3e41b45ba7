"""A study's trials on disk: an Optuna study in SQLite, one transaction a trial, written by the driver alone.

What runs is a `plan.json` in its trial's folder; what ended is a row in the database. A process killed at any time
leaves the rows as they are, and the plans without a row are queued again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import optuna
import sqlalchemy

from ...errors import StorageError, one_line
from ...files import read_json, write_json
from ...spaces.plain import from_plain, to_plain
from ...spaces.space import Space
from ...spaces.variables import Variable
from ..objectives import is_maximized
from ..trial import Trial, TrialState
from .layout import trial_folder
from .rows import insert_trial

STATES = {
    TrialState.FINISHED: optuna.trial.TrialState.COMPLETE,
    TrialState.GATED: optuna.trial.TrialState.PRUNED,
    TrialState.STOPPED: optuna.trial.TrialState.PRUNED,
    TrialState.FAILED: optuna.trial.TrialState.FAIL,
}
ATTRIBUTE = "trial"
ENDED = sqlalchemy.text(
    "SELECT a.value_json FROM trial_user_attributes AS a JOIN trials AS t ON t.trial_id = a.trial_id "
    "JOIN studies AS s ON s.study_id = t.study_id WHERE s.study_name = :name AND a.key = :key ORDER BY t.number"
)
"""Reads trials from Optuna's tables. Optuna's own reader makes every parameter of theirs anew: 5,000 trials took it 10
seconds, and this 2."""


class TrialStore:
    """The trials of one study.

    Attributes:
        folder: The study's folder.
        path: The database.
    """

    def __init__(self, folder: Path, name: str, objectives: Sequence[str]) -> None:
        """Open the database, or make one.

        Args:
            folder: The study's folder.
            name: Of the study.
            objectives: Names of what a finished trial's values are.

        Raises:
            StorageError: The file is no usable database.
        """
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._ended: list[Trial] | None = None
        self.folder = folder
        self.path = folder / "study.db"
        directions: list[Literal["maximize", "minimize"]] = [
            "maximize" if is_maximized(name) else "minimize" for name in objectives
        ]
        url = sqlalchemy.URL.create("sqlite", database=str(self.path)).render_as_string(hide_password=False)
        try:
            storage = optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": {"timeout": 30}})
            self._engine = storage.engine
            with self._engine.connect() as connection:
                connection.execute(sqlalchemy.text("PRAGMA journal_mode=WAL"))
            self._study = optuna.create_study(
                study_name=name, storage=storage, directions=directions, load_if_exists=True
            )
        except Exception as error:  # SQLAlchemy and Optuna raise many kinds for a file that is no database of theirs
            raise StorageError(_reason(self.path, error)) from error

    def ended(self) -> list[Trial]:
        """Return all trials that ended, in the order they did. They are read once: nobody else writes them.

        Raises:
            StorageError: The database cannot be read.
        """
        if self._ended is None:
            self._ended = self._read_ended()
        return list(self._ended)

    def _read_ended(self) -> list[Trial]:
        try:
            with self._engine.connect() as connection:
                rows = connection.execute(ENDED, {"name": self._study.study_name, "key": ATTRIBUTE}).all()
            return [from_plain(Trial, json.loads(json.loads(text))) for (text,) in rows]
        except Exception as error:
            raise StorageError(_reason(self.path, error)) from error

    def begin(self, trial: Trial) -> None:
        """Note that a trial runs or waits.

        Raises:
            StorageError: The disk is full or cannot be written.
        """
        write_json(trial_folder(self.folder, trial.number) / "plan.json", to_plain(trial))

    def interrupted(self) -> list[Trial]:
        """Return the trials that ran or waited when the process ended, oldest first.

        Raises:
            StorageError: A file cannot be read.
        """
        known = {trial.number for trial in self.ended()}
        found = []
        begun = [p for p in (self.folder / "trials").glob("*/plan.json") if p.parent.name.isdigit()]
        for path in sorted(begun, key=lambda p: int(p.parent.name)):
            if int(path.parent.name) not in known:
                try:
                    found.append(from_plain(Trial, read_json(path)))
                except ValueError as error:
                    raise StorageError(f"{path}: holds no trial ({one_line(error)}); delete it") from error
        return found

    def end(self, trial: Trial, values: Sequence[float] | None, space: Space) -> None:
        """Write a trial that ended, in one transaction, with its decisions as Optuna's parameters.

        Args:
            trial: The trial.
            values: Its objectives in their own units, for a finished one.
            space: What its plan is a point of.

        Raises:
            StorageError: The database cannot be written.
        """
        attributes: dict[str, Any] = {ATTRIBUTE: json.dumps(to_plain(trial)), "origin": trial.label}
        state = STATES[trial.state]
        params = {v.name: v.legal(trial.plan.choices.get(v.name, v.options[0])) for v in space}
        ranges = {v.name: distribution(v) for v in space}
        try:
            insert_trial(self._engine, self._study._study_id, state, values, params, ranges, attributes)
        except Exception as error:
            raise StorageError(_reason(self.path, error)) from error
        if self._ended is not None:
            self._ended.append(trial)


def distribution(variable: Variable) -> optuna.distributions.BaseDistribution:
    """Return Optuna's form of a variable, for those who look at a study with Optuna's own tools."""
    if variable.bounds is not None:
        return optuna.distributions.FloatDistribution(
            variable.bounds.low, variable.bounds.high, log=variable.bounds.log
        )
    return optuna.distributions.CategoricalDistribution(variable.options)


def _reason(path: Path, error: Exception) -> str:
    causes: list[BaseException] = [error]
    while (cause := causes[-1].__cause__) is not None:
        causes.append(cause)  # Optuna's own words hide SQLite's
    text = one_line(str(getattr(causes[-1], "orig", None) or causes[-1]))[:160]
    if "disk is full" in text or "No space left" in text:
        return f"{path}: the disk is full; free some space and run the same command again"
    return f"{path}: not a usable study database ({text}); restore it, or start anew with --fresh"
