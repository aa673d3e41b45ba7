"""Writing a trial as a row of Optuna's tables, in one go.

Optuna's own `add_trial` asks the database several times for each parameter: a row of 127 took it 0.24 s, and this takes
0.03 s. What stands there afterwards is the same, and Optuna's tools read it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import optuna
import sqlalchemy
from sqlalchemy import text

from ...spaces.plain import to_plain
from ...spaces.space import Space
from ...spaces.variables import Variable
from ..trial import Trial, TrialState

FIRST = text("UPDATE studies SET study_name = study_name WHERE study_id = :study")
"""Holds a study's row, so that of several that add trials each counts those of the others."""
COUNT = text("SELECT COUNT(*) FROM trials WHERE study_id = :study")
TRIAL = text(
    "INSERT INTO trials (number, study_id, state, datetime_start, datetime_complete) "
    "VALUES (:number, :study, :state, :begun, :ended)"
)
MADE = text("SELECT MAX(trial_id) FROM trials WHERE study_id = :study AND number = :number")
VALUE = text(
    "INSERT INTO trial_values (trial_id, objective, value, value_type) VALUES (:trial, :objective, :value, :kind)"
)
PARAMETER = text(
    "INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json) "
    "VALUES (:trial, :name, :value, :distribution)"
)
ATTRIBUTE = text("INSERT INTO trial_user_attributes (trial_id, key, value_json) VALUES (:trial, :key, :value)")

STATE = text("UPDATE trials SET state = :state WHERE trial_id = :trial")
NO_VALUES = text("DELETE FROM trial_values WHERE trial_id = :trial")
OTHER_ATTRIBUTE = text("UPDATE trial_user_attributes SET value_json = :value WHERE trial_id = :trial AND key = :key")

STATES = {
    TrialState.FINISHED: optuna.trial.TrialState.COMPLETE,
    TrialState.GATED: optuna.trial.TrialState.PRUNED,
    TrialState.FAILED: optuna.trial.TrialState.FAIL,
}


def insert_ended(
    engine: sqlalchemy.Engine,
    study: int,
    trial: Trial,
    values: Sequence[float] | None,
    space: Space | None,
    key: str,
    times: tuple[datetime, datetime],
    also: Callable[[sqlalchemy.Connection], None],
) -> None:
    """Write a trial of ours that ended, with its decisions as Optuna's parameters; see `insert_trial`.

    Args:
        engine: Of the database.
        study: Optuna's number of the study.
        trial: The trial.
        values: Its objectives; None where it was not measured.
        space: What its plan is a point of; None where that is not known.
        key: Of the user attribute that has all of it.
        times: When it began and ended.
        also: Does more in the transaction.
    """
    attributes: dict[str, Any] = {key: json.dumps(to_plain(trial)), "origin": trial.label}
    variables = space or ()
    params = {v.name: v.legal(trial.plan.choices.get(v.name, v.options[0])) for v in variables}
    ranges = {v.name: distribution(v) for v in variables}
    insert_trial(engine, study, STATES[trial.state], values, params, ranges, attributes, times, also)


def insert_trial(
    engine: sqlalchemy.Engine,
    study: int,
    state: optuna.trial.TrialState,
    values: Sequence[float] | None,
    params: Mapping[str, Any],
    distributions: Mapping[str, optuna.distributions.BaseDistribution],
    attributes: Mapping[str, Any],
    times: tuple[datetime, datetime],
    also: Callable[[sqlalchemy.Connection], None] = lambda connection: None,
) -> None:
    """Write one trial that ended, in one transaction.

    Args:
        engine: Of the database.
        study: Optuna's number of the study.
        state: How the trial ended.
        values: Its objectives; None where it was not measured.
        params: Name -> option or number.
        distributions: What each is drawn from.
        attributes: The user attributes.
        times: When the trial began and ended, in UTC without a zone, as Optuna's tables have it.
        also: Does more in the transaction; where it raises, nothing is written.
    """
    with engine.begin() as connection:
        state, values = _told(state, values)
        connection.execute(FIRST, {"study": study})
        also(connection)
        number = connection.execute(COUNT, {"study": study}).scalar_one()
        row = {"number": number, "study": study, "state": state.name, "begun": str(times[0]), "ended": str(times[1])}
        connection.execute(TRIAL, row)
        trial = connection.execute(MADE, {"study": study, "number": number}).scalar_one()
        found = [{"trial": trial, "objective": i, **_value(value)} for i, value in enumerate(values)]
        named = [
            {
                "trial": trial,
                "name": name,
                "value": distributions[name].to_internal_repr(option),
                "distribution": optuna.distributions.distribution_to_json(distributions[name]),
            }
            for name, option in params.items()
        ]
        said = [{"trial": trial, "key": key, "value": json.dumps(value)} for key, value in attributes.items()]
        for statement, rows in ((VALUE, found), (PARAMETER, named), (ATTRIBUTE, said)):
            if rows:
                connection.execute(statement, rows)


def replace_trial(
    engine: sqlalchemy.Engine,
    trial: int,
    state: optuna.trial.TrialState,
    values: Sequence[float] | None,
    key: str,
    attribute: Any,
) -> None:
    """Change one trial that ended, which Optuna itself never does, in one transaction.

    Args:
        engine: Of the database.
        trial: Optuna's number of it, over all studies.
        state: How it ended.
        values: Its objectives; None where it was not measured.
        key: Of a user attribute.
        attribute: What that is from now on.
    """
    with engine.begin() as connection:
        state, values = _told(state, values)
        connection.execute(OTHER_ATTRIBUTE, {"trial": trial, "key": key, "value": json.dumps(attribute)})
        connection.execute(STATE, {"trial": trial, "state": state.name})
        connection.execute(NO_VALUES, {"trial": trial})
        for place, value in enumerate(values):
            connection.execute(VALUE, {"trial": trial, "objective": place, **_value(value)})


def _told(
    state: optuna.trial.TrialState, values: Sequence[float] | None
) -> tuple[optuna.trial.TrialState, Sequence[float]]:
    """Return what Optuna's tools are told: to them, as to Optuna, a trial with a value that is no number has failed."""
    if any(map(math.isnan, values or ())):
        return optuna.trial.TrialState.FAIL, ()
    return state, values or ()


def _value(value: float) -> dict[str, Any]:
    """Return a number as Optuna's table of values has it; not every database has an infinity."""
    if math.isinf(value):
        return {"value": None, "kind": "INF_POS" if value > 0 else "INF_NEG"}
    return {"value": float(value), "kind": "FINITE"}


def distribution(variable: Variable) -> optuna.distributions.BaseDistribution:
    """Return Optuna's form of a variable, for those who look at a study with Optuna's own tools."""
    if variable.bounds is not None:
        return optuna.distributions.FloatDistribution(
            variable.bounds.low, variable.bounds.high, log=variable.bounds.log
        )
    return optuna.distributions.CategoricalDistribution(variable.options)
