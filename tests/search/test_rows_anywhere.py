"""What holds for the rows of a study, be they in a file of SQLite or on a PostgreSQL server."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
import sqlalchemy
from stored_trials import ENDED, a_store, a_trial, end
from synthetic_spaces import chain

from autocompress.errors import StorageError
from autocompress.search.store.database import database_for_search, database_of, read_trials
from autocompress.search.store.place import read_place
from autocompress.search.trial import TrialState
from autocompress.spaces.plain import to_plain


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.xdist_group("postgres"))])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The folder of a study whose rows lie in one or the other."""
    made = tmp_path / "study"
    made.mkdir()
    if request.param == "postgresql":
        database_for_search(made, "study", request.getfixturevalue("postgres").address)
    return made


def as_optuna_names_it(folder: Path) -> tuple[str, str]:
    """The name and address that Optuna's own tools take."""
    place = read_place(folder)
    return ("study", f"sqlite:///{folder / 'study.db'}") if place is None else (place.study, place.address)


def loaded(folder: Path) -> optuna.Study:
    name, storage = as_optuna_names_it(folder)
    return optuna.load_study(study_name=name, storage=storage)


def test_trials_come_back_as_they_were_in_the_order_in_which_they_ended(folder: Path) -> None:
    store = a_store(folder)
    trials = [a_trial(number, state) for number, state in zip((7, 3, 12), ENDED, strict=True)]
    for trial in trials:
        end(store, trial)
    store.begin(a_trial(20, TrialState.RUNNING))
    assert store.ended() == trials == read_trials(folder, "study")
    store.close()
    again = a_store(folder)
    assert again.ended() == trials and [t.number for t in again.interrupted()] == [20] and again.next_number() == 21
    again.close()


def test_infinity_comes_back_and_what_is_no_number_has_failed_to_optuna(folder: Path) -> None:
    store = a_store(folder)
    for number, values in enumerate(([0.5, math.inf], [-math.inf, 1.0], [math.nan, 1.0]), 1):
        store.begin(a_trial(number))
        store.end(a_trial(number), values, None)
    rows = loaded(folder).trials
    assert [row.values for row in rows] == [[0.5, math.inf], [-math.inf, 1.0], None]
    assert rows[2].state is optuna.trial.TrialState.FAIL and loaded(folder).best_trials
    assert [t.number for t in read_trials(folder, "study")] == [1, 2, 3], "to the study it is what it was"
    store.close()


def test_rows_of_others_cost_their_trial_alone(folder: Path) -> None:
    store = a_store(folder)
    for number in (1, 2, 3):
        end(store, a_trial(number))
    study = loaded(folder)
    study.add_trial(optuna.trial.create_trial(values=[0.5, 1.0]))
    end(store, a_trial(4))
    assert [row.number for row in loaded(folder).trials] == [0, 1, 2, 3, 4]
    old = to_plain(a_trial(2))
    name, storage = as_optuna_names_it(folder)
    engine = sqlalchemy.create_engine(storage)
    with engine.begin() as connection:
        # other tests have trials like these on the same server
        study_id = "(SELECT study_id FROM studies WHERE study_name = :study)"
        own = f"trial_id IN (SELECT trial_id FROM trials WHERE study_id = {study_id})"
        statement = f"UPDATE trial_user_attributes SET value_json = :new WHERE value_json = :old AND {own}"
        texts = {
            "study": name,
            "new": json.dumps(json.dumps(old | {"state": "eaten"})),
            "old": json.dumps(json.dumps(old)),
        }
        assert connection.execute(sqlalchemy.text(statement), texts).rowcount == 1
    engine.dispose()
    assert [t.number for t in read_trials(folder, "study")] == [1, 3, 4]
    store.close()
    assert a_store(folder).next_number() == 5, "its number is not given again"


def test_a_row_is_written_in_place_of_another(folder: Path) -> None:
    store = a_store(folder)
    for number in (1, 2, 3):
        end(store, a_trial(number))
    again = [replace(a_trial(number), label="measured anew") for number in (1, 2, 3)]
    again[1] = replace(again[1], state=TrialState.FAILED, measured={}, reason="its file is gone")
    for trial, values in zip(again, ([0.5, math.inf], None, [0.5, 1.0]), strict=True):
        store.rewrite(trial, values)
    assert store.ended() == again == read_trials(folder, "study")
    assert [row.values for row in loaded(folder).trials] == [[0.5, math.inf], None, [0.5, 1.0]]
    store.close()


def test_optuna_reads_names_and_values_of_hundreds_of_decisions(folder: Path) -> None:
    """As its dashboard does, which asks the storage for all trials."""
    space = chain([16] * 295 + [10])
    store = a_store(folder)
    store.begin(a_trial(1))
    store.end(a_trial(1), [0.9, 1.0], space)
    name, storage = as_optuna_names_it(folder)
    storages = optuna.storages.get_storage(storage)
    (row,) = storages.get_all_trials(storages.get_study_id_from_name(name))
    assert len(row.params) >= 300 and row.params.keys() == {v.name for v in space}
    assert row.values == [0.9, 1.0] and row.state is optuna.trial.TrialState.COMPLETE
    assert set(row.user_attrs) == {"trial", "origin"}
    directions = storages.get_study_directions(storages.get_study_id_from_name(name))
    assert [d.name for d in directions] == ["MAXIMIZE", "MINIMIZE"]
    store.close()


def test_rows_that_are_lost_are_made_anew_from_the_trials_own_files(folder: Path) -> None:
    store = a_store(folder)
    for number in (1, 2):
        end(store, a_trial(number))
    store.close()
    name, storage = as_optuna_names_it(folder)
    if storage.startswith("sqlite"):
        (folder / "study.db").unlink()
    else:
        optuna.delete_study(study_name=name, storage=storage)
    with pytest.raises(StorageError, match="autocompress repair") as caught:
        read_trials(folder, "study")
    assert "\n" not in str(caught.value) and not database_of(folder, "study").is_there(), "reading makes nothing"
    a_store(folder).close()
    assert read_trials(folder, "study") == [a_trial(1), a_trial(2)]


def test_tables_of_a_later_version_are_left_as_they_are(folder: Path) -> None:
    a_store(folder).close()
    _, storage = as_optuna_names_it(folder)
    engine = sqlalchemy.create_engine(storage)
    change = sqlalchemy.text("UPDATE alembic_version SET version_num = :version")
    with engine.begin() as connection:
        before = connection.execute(sqlalchemy.text("SELECT version_num FROM alembic_version")).scalar_one()
        connection.execute(change, {"version": "v99.0.0"})
    try:
        for act in (lambda: read_trials(folder, "study"), lambda: a_store(folder)):
            with pytest.raises(StorageError, match="later version of Optuna") as caught:
                act()
            assert "\n" not in str(caught.value)
    finally:
        with engine.begin() as connection:
            connection.execute(change, {"version": before})
        engine.dispose()
