"""The names of a study's objectives, where Optuna's own tools look for them."""

from __future__ import annotations

import json
from collections.abc import Sequence

import sqlalchemy
from sqlalchemy import text

KEY = "study:metric_names"
"""Where `Study.set_metric_names` keeps them."""
KNOWN = text("SELECT value_json FROM study_system_attributes WHERE study_id = :study AND key = :key")
NEW = text("INSERT INTO study_system_attributes (study_id, key, value_json) VALUES (:study, :key, :value)")
CHANGED = text("UPDATE study_system_attributes SET value_json = :value WHERE study_id = :study AND key = :key")


def name_objectives(engine: sqlalchemy.Engine, study: int, objectives: Sequence[str]) -> None:
    """Write the names of the objectives, unless they are there.

    Args:
        engine: Of the database.
        study: Optuna's number of the study.
        objectives: The names, in the order of the values.
    """
    row = {"study": study, "key": KEY}
    value = json.dumps(list(objectives))
    with engine.connect() as connection:
        known = connection.execute(KNOWN, row).scalar()
    if known == value:
        return
    try:
        with engine.begin() as connection:
            connection.execute(NEW if known is None else CHANGED, {**row, "value": value})
    except sqlalchemy.exc.IntegrityError:  # another driver of the study wrote them just now
        with engine.begin() as connection:
            connection.execute(CHANGED, {**row, "value": value})
