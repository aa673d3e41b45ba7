"""A study's trials: an Optuna study in a database, one transaction a trial, written by the trial's driver alone.

Every trial has a `plan.json` in its folder, which says how it stood last; what ended has a row in the database too. A
process killed at any time leaves the rows as they are, and the plans that did not end are queued again. A row that is
missing is made again from the plan, so that a database which is locked, or lost, costs nothing.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import optuna
import sqlalchemy

from ...errors import StorageError
from ...files import write_json
from ...remarks import remark
from ...spaces.plain import to_plain
from ...spaces.space import Space
from ..objectives import directions_of
from ..trial import Trial
from ..values import valued
from .database import Database, database_of
from .insert import STATES, insert_ended, replace_trial
from .layout import trial_folder
from .leases import Leases
from .naming import name_objectives
from .patience import Patience
from .plans import begin_plans, finished_by_files, plan_key, read_plans
from .rows import ATTRIBUTE, parsed, places, with_places
from .scale import Scale
from .times import TrialTimes

CLAIM_S = 600.0
"""How long a server is waited for that gives the numbers of trials."""


class TrialStore:
    """The trials of one study.

    Attributes:
        folder: The study's folder.
        database: Where its rows lie.
        leases: What this driver holds of a study that it shares with others; None where it has the study alone.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        objectives: Sequence[str],
        check_held: Callable[[], None] = lambda: None,
        database: Database | None = None,
        leases: Leases | None = None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Open the database, or make one; trials that have no row get theirs from their files.

        Args:
            folder: The study's folder.
            name: Of the study.
            objectives: Names of what a finished trial's values are.
            check_held: Raises StorageError where this process must not write the study any more; see `locked`.
            database: Where its rows lie; by default where the folder says.
            leases: See the class.
            stop: Tells whether the search is to end; a database that is away is not waited for long then.

        Raises:
            StorageError: The database cannot be used, or stays locked or away.
        """
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.folder, self._objectives, self._check_held = folder, tuple(objectives), check_held
        self.database, self.leases = database or database_of(folder, name), leases
        self._asked = Patience(self.database, stop)
        self._rows: tuple[list[Trial], set[int]] | None = None
        self._unwritten: list[tuple[Trial, Sequence[float] | None, Space | None]] = []
        self._places: dict[int, int] = {}
        self._times, self._last, self._next = TrialTimes(folder), 0, 0
        directions = directions_of(self._objectives)
        if new := not self._asked.when_there(self.database.is_there):
            self._asked.when_there(lambda: self.database.make(directions), -1.0)  # a disk that is full stays so
        self._engine, self._study = self._asked.when_there(lambda: self.database.open(directions))
        self._asked.when_there(lambda: name_objectives(self._engine, self._study, self._objectives))
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
        plain = to_plain(trial)
        write_json(trial_folder(self.folder, trial.number) / "plan.json", plain)
        if self.leases is not None and not trial.state.ended:
            self.leases.note(trial.number, json.dumps(plain))

    def interrupted(self) -> list[Trial]:
        """Return the trials that ran or waited when the process ended, oldest first.

        A plan that cannot be read is put aside, and costs its trial alone.

        Raises:
            StorageError: The disk cannot be read or written.
        """
        scale = Scale.of(self.folder)
        plans = [p for p in read_plans(self.folder, self._numbers()) if not p.state.ended]
        own = {p.number for p in plans} if self.leases is None else self._asked.when_there(self.leases.own)
        return [scale.trial(p) for p in plans if p.number in own]

    def next_number(self) -> int:
        """Return the first number that no trial has, nor had when its files were still whole."""
        folders = [int(p.name) for p in (self.folder / "trials").glob("*") if p.name.isdigit()]
        return max([0, *self._numbers(), *folders]) + 1

    def claim(self, make: Callable[[int], Trial]) -> Trial | None:
        """Begin a trial under the next number; None where another driver tries its plan.

        Args:
            make: Returns the trial that has a number.

        Raises:
            WaitEnded: The database is away, and the search is to end.
            StorageError: The disk cannot be written, or the database stays away.
        """
        self._next = number = self._next or self.next_number()
        if (leases := self.leases) is not None:
            key, known = plan_key(make(number)), self._numbers()
            taken = self._asked.when_there(
                lambda: leases.claim(key, known, lambda n: json.dumps(to_plain(make(n))), number), CLAIM_S
            )
            if taken is None:
                return None
            number = taken
        self._next, trial = number + 1, make(number)
        self.begin(trial)
        return trial

    def take_plan(self, trial: Trial) -> bool:
        """Let others know a trial that has begun by its plan of now; return False where another driver tries that.

        Where the server is away, nobody is asked: a plan that is tried twice costs less than waiting.
        """
        if self.leases is not None:
            with contextlib.suppress(sqlalchemy.exc.SQLAlchemyError):
                return self.leases.claim_plan(trial.number, plan_key(trial), self._numbers())
        return True

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
        self._write_rows(None if len(self._unwritten) == 1 else 0.0)

    def rewrite(self, trial: Trial, values: Sequence[float] | None) -> None:
        """Write a trial that ended in place of what its row says.

        Args:
            trial: The trial.
            values: Its objectives in their own units, for a finished one.

        Raises:
            StorageError: The disk or the database cannot be written.
        """
        self.begin(trial)
        self._write_rows()
        for place, (waiting, _, space) in enumerate(self._unwritten):
            if waiting.number == trial.number:
                self._unwritten[place] = (trial, values, space)
                return
        trials, numbers = self._read()
        self._asked.when_there(lambda: self._replace(trial, values))
        self._rows = [trial if known.number == trial.number else known for known in trials], numbers

    def news(self) -> list[Trial]:
        """Return the trials that other drivers ended since this was asked last, in the order they did."""
        trials, numbers = self._read()
        rows = with_places(self._engine, self.database.study, self._last)
        self._last = max([self._last, *(row for row, _ in rows)])
        new = [t for t in parsed(self.database.where, [text for _, text in rows])[0] if t.number not in numbers]
        trials += new
        numbers |= {trial.number for trial in new}
        scale = Scale.of(self.folder)
        return [scale.trial(trial) for trial in new]

    def left(self) -> list[Trial]:
        """Take over the trials of drivers that ended or died, and return them as they stood last.

        What had ended but for its row gets that.
        """
        taken = self._take_over()
        plans = [p for p in read_plans(self.folder, self._numbers()) if p.number in taken] if taken else []
        self._put([p for p in plans if p.state.ended])
        self._write_rows(0.0)
        scale = Scale.of(self.folder)
        return [scale.trial(plan) for plan in plans]

    def close(self) -> None:
        """Write the rows that are not written yet, and close the database."""
        with contextlib.suppress(StorageError):
            self._write_rows()
        self._engine.dispose()

    def _read(self) -> tuple[list[Trial], set[int]]:
        """Return what the database has. It is read once: nobody else writes it."""
        if self._rows is None:
            self._rows = self._read_rows()
        return self._rows

    def _read_rows(self) -> tuple[list[Trial], set[int]]:
        found = self._asked.when_there(lambda: with_places(self._engine, self.database.study))
        self._last = max((row for row, _ in found), default=0)
        return parsed(self.database.where, [text for _, text in found])

    def _numbers(self) -> set[int]:
        return self._read()[1] | {trial.number for trial, _, _ in self._unwritten}

    def _restore(self, lost: bool) -> None:
        """Give trials rows that ended by their own files: all of a lost database, or the last before a crash."""
        self._asked.when_there(self._take_over)
        plans = read_plans(self.folder, set() if lost else self._numbers())
        if (leases := self.leases) is not None:
            self._asked.when_there(lambda: leases.adopt([plan.number for plan in plans]))
            own = self._asked.when_there(leases.own)
            plans = [plan for plan in plans if plan.number in own]
        if lost:
            plans = [finished_by_files(self.folder, plan) for plan in plans]
        missing = [plan for plan in plans if plan.state.ended]
        if missing and lost:
            remark(f"{self.database.where}: was missing; made anew with {len(missing)} trials from their own files")
        self._put(missing)
        self._write_rows()
        numbers = self._read()[1]
        self._asked.when_there(lambda: self.database.note_ended(self._engine, self._study, numbers))

    def _put(self, missing: Sequence[Trial]) -> None:
        for trial in sorted(missing, key=lambda t: (t.ended_s or 0.0, t.number)):
            self._unwritten.append((*valued(trial, self._objectives), None))

    def _take_over(self) -> set[int]:
        """Take the trials of drivers that ended or died; one that never wrote its plan is begun here."""
        taken = {} if self.leases is None else self.leases.take_over()
        begin_plans(self.folder, taken)
        return set(taken)

    def _write_rows(self, patience_s: float | None = None) -> None:
        try:
            while self._unwritten:
                self._asked.patiently(lambda: self._add(*self._unwritten[0]), patience_s)
                trial, _, _ = self._unwritten.pop(0)
                if self._rows is not None:
                    self._rows[0].append(trial)
                    self._rows[1].add(trial.number)
        except StorageError:
            raise
        except Exception as error:
            if not self._asked.is_away(error):
                raise StorageError(self.database.reason(error)) from error
            remark(f"{self.database.reason(error)}. Until then, trials that end are kept in their own files")

    def _add(self, trial: Trial, values: Sequence[float] | None, space: Space | None) -> None:
        def note_end(connection: sqlalchemy.Connection) -> None:
            if self.leases is not None:
                self.leases.end(connection, trial.number)

        times = self._times.of(trial)
        insert_ended(self._engine, self._study, trial, values, space, ATTRIBUTE, times, note_end)

    def _replace(self, trial: Trial, values: Sequence[float] | None) -> None:
        if trial.number not in self._places:
            self._places = places(with_places(self._engine, self.database.study))
        if (row := self._places.get(trial.number)) is not None:
            replace_trial(self._engine, row, STATES[trial.state], values, ATTRIBUTE, json.dumps(to_plain(trial)))
