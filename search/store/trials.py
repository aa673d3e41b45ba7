"""A study's trials: an Optuna study in a database, one transaction a trial, written by the driver alone.

Every trial has a `plan.json` in its folder, which says how it stood last; what ended has a row in the database too. A
process killed at any time leaves the rows as they are, and the plans that did not end are queued again. A row that is
missing is made again from the plan, so that a database which is locked, or lost, costs nothing.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import optuna
import sqlalchemy

from ...errors import StorageError
from ...files import write_json
from ...remarks import remark
from ...spaces.plain import to_plain
from ...spaces.space import Space
from ...spaces.variables import Variable
from ..objectives import is_maximized, objective_value
from ..trial import Trial, TrialState
from .database import Database, database_of
from .insert import insert_trial, replace_trial
from .layout import trial_folder
from .naming import name_objectives
from .plans import finished_by_files, read_plans
from .rows import ATTRIBUTE, ENDED, PATIENCE_S, PLACES, parsed, places
from .scale import Scale
from .sqlite_file import Direction
from .times import TrialTimes

T = TypeVar("T")

STATES = {
    TrialState.FINISHED: optuna.trial.TrialState.COMPLETE,
    TrialState.GATED: optuna.trial.TrialState.PRUNED,
    TrialState.FAILED: optuna.trial.TrialState.FAIL,
}


class TrialStore:
    """The trials of one study.

    Attributes:
        folder: The study's folder.
        database: Where its rows lie.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        objectives: Sequence[str],
        check_held: Callable[[], None] = lambda: None,
        database: Database | None = None,
    ) -> None:
        """Open the database, or make one; trials that have no row get theirs from their files.

        Args:
            folder: The study's folder.
            name: Of the study.
            objectives: Names of what a finished trial's values are.
            check_held: Raises StorageError where this process must not write the study any more; see `locked`.
            database: Where its rows lie; by default where the folder says.

        Raises:
            StorageError: The database cannot be used, or stays locked or away.
        """
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.folder, self._objectives, self._check_held = folder, tuple(objectives), check_held
        self.database = database or database_of(folder, name)
        self._rows: tuple[list[Trial], set[int]] | None = None
        self._unwritten: list[tuple[Trial, Sequence[float] | None, Space | None]] = []
        self._places: dict[int, int] = {}
        self._times = TrialTimes(folder)
        directions: list[Direction] = ["maximize" if is_maximized(each) else "minimize" for each in self._objectives]
        try:
            new = not self._patiently(self.database.is_there)
            if new:
                self._patiently(lambda: self.database.make(directions))
            self._engine, self._study = self._patiently(lambda: self.database.open(directions))
            self._patiently(lambda: name_objectives(self._engine, self._study, self._objectives))
        except StorageError:
            raise
        except Exception as error:  # SQLAlchemy and Optuna raise many kinds for a file that is no database of theirs
            raise StorageError(self.database.reason(error)) from error
        self._restore(new)

    def ended(self) -> list[Trial]:
        """Return all trials that ended, in the order they did, with milliseconds in today's scale.

        Raises:
            StorageError: The database cannot be read.
        """
        scale = Scale.of(self.folder)
        return [scale.trial(t) for t in (*self._read()[0], *(trial for trial, _, _ in self._unwritten))]

    def begin(self, trial: Trial) -> None:
        """Note how a trial stands that runs or waits.

        Raises:
            StorageError: The disk is full or cannot be written.
        """
        self._check_held()
        self._times.noted(trial)
        write_json(trial_folder(self.folder, trial.number) / "plan.json", to_plain(trial))

    def interrupted(self) -> list[Trial]:
        """Return the trials that ran or waited when the process ended, oldest first.

        A plan that cannot be read is put aside, and costs its trial alone.

        Raises:
            StorageError: The disk cannot be read or written.
        """
        scale = Scale.of(self.folder)
        return [scale.trial(p) for p in read_plans(self.folder, self._numbers()) if not p.state.ended]

    def next_number(self) -> int:
        """Return the first number that no trial has, nor had when its files were still whole."""
        folders = [int(p.name) for p in (self.folder / "trials").glob("*") if p.name.isdigit()]
        return max([0, *self._numbers(), *folders]) + 1

    def end(self, trial: Trial, values: Sequence[float] | None, space: Space | None) -> None:
        """Write a trial that ended: whole into its folder, then as a row with its decisions as Optuna's parameters.

        Where the database stays locked, the row is written later, at the latest by the next run.

        Args:
            trial: The trial.
            values: Its objectives in their own units, for a finished one.
            space: What its plan is a point of; None where that is not known.

        Raises:
            StorageError: The disk or the database cannot be written.
        """
        self.begin(trial)
        self._unwritten.append((trial, values, space))
        self._write_rows(PATIENCE_S if len(self._unwritten) == 1 else 0.0)

    def rewrite(self, trial: Trial, values: Sequence[float] | None) -> None:
        """Write a trial that ended in place of what its row says.

        Args:
            trial: The trial.
            values: Its objectives in their own units, for a finished one.

        Raises:
            StorageError: The disk or the database cannot be written.
        """
        self.begin(trial)
        self._write_rows(PATIENCE_S)
        for place, (waiting, _, space) in enumerate(self._unwritten):
            if waiting.number == trial.number:
                self._unwritten[place] = (trial, values, space)
                return
        trials, numbers = self._read()
        try:
            self._patiently(lambda: self._replace(trial, values))
        except Exception as error:
            raise StorageError(self.database.reason(error)) from error
        self._rows = [trial if known.number == trial.number else known for known in trials], numbers

    def close(self) -> None:
        """Write the rows that are not written yet, and close the database."""
        with contextlib.suppress(StorageError):
            self._write_rows(PATIENCE_S if self._unwritten else 0.0)
        self._engine.dispose()

    def _read(self) -> tuple[list[Trial], set[int]]:
        """Return what the database has. It is read once: nobody else writes it."""
        if self._rows is None:
            self._rows = self._read_rows()
        return self._rows

    def _read_rows(self) -> tuple[list[Trial], set[int]]:
        def rows() -> list[str]:
            with self._engine.connect() as connection:
                found = connection.execute(
                    sqlalchemy.text(ENDED), {"name": self.database.study, "key": ATTRIBUTE}
                ).all()
            return [text for (text,) in found]

        try:
            return parsed(self.database.where, self._patiently(rows))
        except Exception as error:
            raise StorageError(self.database.reason(error)) from error

    def _numbers(self) -> set[int]:
        return self._read()[1] | {trial.number for trial, _, _ in self._unwritten}

    def _restore(self, lost: bool) -> None:
        """Give trials rows that ended by their own files: all of a lost database, or the last before a crash."""
        plans = read_plans(self.folder, set() if lost else self._numbers())
        if lost:
            plans = [finished_by_files(self.folder, plan) for plan in plans]
        missing = [plan for plan in plans if plan.state.ended]
        if missing and lost:
            remark(f"{self.database.where}: was missing; made anew with {len(missing)} trials from their own files")
        for trial in sorted(missing, key=lambda t: (t.ended_s or 0.0, t.number)):
            values = [objective_value(name, trial.measured) for name in self._objectives] if trial.measured else None
            self._unwritten.append((trial, values, None))
        self._write_rows(PATIENCE_S)

    def _write_rows(self, patience_s: float) -> None:
        try:
            while self._unwritten:
                self._patiently(lambda: self._add(*self._unwritten[0]), patience_s)
                trial, _, _ = self._unwritten.pop(0)
                if self._rows is not None:
                    self._rows[0].append(trial)
                    self._rows[1].add(trial.number)
        except Exception as error:
            if not self._is_away(error):
                raise StorageError(self.database.reason(error)) from error
            remark(f"{self.database.reason(error)}. Until then, trials that end are kept in their own files")

    def _add(self, trial: Trial, values: Sequence[float] | None, space: Space | None) -> None:
        attributes: dict[str, Any] = {ATTRIBUTE: json.dumps(to_plain(trial)), "origin": trial.label}
        state, variables = STATES[trial.state], space or ()
        params = {v.name: v.legal(trial.plan.choices.get(v.name, v.options[0])) for v in variables}
        ranges, times = {v.name: distribution(v) for v in variables}, self._times.of(trial)
        insert_trial(self._engine, self._study, state, values, params, ranges, attributes, times)

    def _replace(self, trial: Trial, values: Sequence[float] | None) -> None:
        if trial.number not in self._places:
            with self._engine.connect() as connection:
                self._places = places(
                    connection.execute(sqlalchemy.text(PLACES), {"name": self.database.study, "key": ATTRIBUTE}).all()
                )
        if (row := self._places.get(trial.number)) is not None:
            replace_trial(self._engine, row, STATES[trial.state], values, ATTRIBUTE, json.dumps(to_plain(trial)))

    def _patiently(self, act: Callable[[], T], patience_s: float | None = None) -> T:
        """Do something with the database; again, for `PATIENCE_S` or so, while it is locked or out of reach."""
        until_s, told = time.monotonic() + (PATIENCE_S if patience_s is None else patience_s), False
        while True:
            try:
                return act()
            except Exception as error:
                if not self._is_away(error) or time.monotonic() > until_s:
                    raise
            if not told:
                remark(
                    f"{self.database.where}: cannot be used now, and is waited for since {time.strftime('%H:%M:%S')}"
                )
                told = True
            time.sleep(0.5)

    def _is_away(self, error: BaseException) -> bool:
        return not isinstance(error, StorageError) and self.database.is_away(error)


def distribution(variable: Variable) -> optuna.distributions.BaseDistribution:
    """Return Optuna's form of a variable, for those who look at a study with Optuna's own tools."""
    if variable.bounds is not None:
        return optuna.distributions.FloatDistribution(
            variable.bounds.low, variable.bounds.high, log=variable.bounds.log
        )
    return optuna.distributions.CategoricalDistribution(variable.options)
