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

from ...errors import StorageError
from ...spaces.axes.base import Parameter
from ..propose.samplers import distribution, holds
from ..trial import Trial
from .files import read_json, trial_folder, write_json

STATES = {
    "finished": optuna.trial.TrialState.COMPLETE,
    "gated": optuna.trial.TrialState.PRUNED,
    "stopped": optuna.trial.TrialState.PRUNED,
    "failed": optuna.trial.TrialState.FAIL,
}


class Storage:
    """The trials of one study. objectives: names of what a finished trial's values are."""

    def __init__(self, folder: Path, name: str, objectives: Sequence[str]) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.folder = folder
        self.path = folder / "study.db"
        self.objectives = tuple(objectives)
        directions: list[Literal["maximize", "minimize"]] = [
            "maximize" if o == "accuracy" else "minimize" for o in objectives
        ]
        try:
            storage = optuna.storages.RDBStorage(
                f"sqlite:///{self.path}", engine_kwargs={"connect_args": {"timeout": 30}}
            )
            with storage.engine.connect() as connection:
                connection.execute(sqlalchemy.text("PRAGMA journal_mode=WAL"))
            self._study = optuna.create_study(
                study_name=name, storage=storage, directions=directions, load_if_exists=True
            )
        except Exception as error:  # SQLAlchemy and Optuna raise many kinds for a file that is no database of theirs
            raise StorageError(_reason(self.path, error)) from error

    def ended(self) -> list[Trial]:
        """All trials that ended, in the order they did."""
        try:
            return [Trial.from_dict(json.loads(t.user_attrs["trial"])) for t in self._study.get_trials(deepcopy=False)]
        except Exception as error:
            raise StorageError(_reason(self.path, error)) from error

    def begin(self, trial: Trial) -> None:
        """Note that a trial runs."""
        write_json(trial_folder(self.folder, trial.number) / "plan.json", trial.to_dict())

    def interrupted(self) -> list[Trial]:
        """Trials that ran when the process ended, oldest first."""
        known = {trial.number for trial in self.ended()}
        found = []
        for path in sorted((self.folder / "trials").glob("*/plan.json")):
            if path.parent.name.isdigit() and int(path.parent.name) not in known:
                found.append(Trial.from_dict(read_json(path)))
        return found

    def end(self, trial: Trial, values: Sequence[float] | None, latent: dict[str, Parameter]) -> None:
        """Write a trial that ended, in one transaction. values: its objectives, for a finished one."""
        # of a plan that was moved or widened, a number can lie outside what the sampler draws
        params = {k: v for k, v in (trial.latent or {}).items() if k in latent and holds(distribution(latent[k]), v)}
        attributes: dict[str, Any] = {"trial": json.dumps(trial.to_dict()), "origin": trial.origin}
        row = optuna.trial.create_trial(
            state=STATES[trial.outcome],
            values=None if values is None else list(values),
            params=params,
            distributions={k: distribution(latent[k]) for k in params},
            user_attrs=attributes,
        )
        try:
            self._study.add_trial(row)
        except Exception as error:
            raise StorageError(_reason(self.path, error)) from error


def _reason(path: Path, error: Exception) -> str:
    causes: list[BaseException] = [error]
    while (cause := causes[-1].__cause__) is not None:
        causes.append(cause)  # Optuna's own words hide SQLite's
    text = " ".join(str(getattr(causes[-1], "orig", None) or causes[-1]).split())[:160]
    if "disk is full" in text or "No space left" in text:
        return f"{path}: the disk is full; free some space and run the same command again"
    return f"{path}: not a usable study database ({text}); restore it, or start anew with --fresh"
