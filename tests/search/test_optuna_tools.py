"""A study's database, as Optuna and optuna-dashboard read it: names, durations and every decision."""

from __future__ import annotations

import io
import json
import shutil
import sqlite3
import time
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import optuna
import pytest
from stored_trials import OBJECTIVES, SPACE, a_store, a_trial, end

from autocompress.search.report.front import Front
from autocompress.search.store.trials import TrialStore
from autocompress.search.trial import TrialState


def study_of(path: Path) -> optuna.Study:
    return optuna.load_study(study_name=None, storage=f"sqlite:///{path}")


def test_objectives_have_names_and_directions(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    study = study_of(store.folder / "study.db")
    assert study.metric_names == list(OBJECTIVES)
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    end(store, a_trial(1))
    assert {f"values_{name}" for name in OBJECTIVES} <= set(
        study_of(store.folder / "study.db").trials_dataframe().columns
    )


def test_a_study_of_an_earlier_version_gets_its_names_when_it_goes_on(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    end(store, a_trial(1))
    store.close()
    with sqlite3.connect(store.folder / "study.db") as connection:
        connection.execute("DELETE FROM study_system_attributes")
    assert study_of(store.folder / "study.db").metric_names is None
    for _ in range(2):
        a_store(tmp_path).close()
        assert study_of(store.folder / "study.db").metric_names == list(OBJECTIVES)


def test_a_trial_lasts_from_its_begin_to_its_end(tmp_path: Path) -> None:
    store, trial = a_store(tmp_path), replace(a_trial(1), seconds={"training": 0.01})
    begun = datetime.now()
    store.begin(replace(trial, state=TrialState.RUNNING))
    time.sleep(0.3)
    store.begin(replace(trial, state=TrialState.WAITING))
    time.sleep(0.3)
    end(store, trial)
    (row,) = study_of(store.folder / "study.db").trials
    assert row.datetime_start is not None and row.datetime_complete is not None and row.duration is not None
    assert abs(row.datetime_start - begun) < timedelta(seconds=0.25), "in the local time of whoever looks"
    assert row.duration >= timedelta(seconds=0.59) and row.datetime_complete <= datetime.now()


def test_a_trial_that_an_earlier_run_began_lasts_as_long_as_it_was_worked_on(tmp_path: Path) -> None:
    a_store(tmp_path).begin(a_trial(1, TrialState.RUNNING))
    store = a_store(tmp_path)
    end(store, replace(a_trial(1), seconds={"training": 50.0, "measuring": 10.0}))
    (row,) = study_of(store.folder / "study.db").trials
    assert row.duration is not None and row.duration.total_seconds() == pytest.approx(60, abs=0.5)


def test_trials_of_a_database_that_was_lost_keep_their_times(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    end(store, replace(a_trial(1), seconds={"training": 50.0}))
    before = study_of(store.folder / "study.db").trials[0]
    store.close()
    (store.folder / "study.db").unlink()
    time.sleep(0.5)
    (row,) = study_of(a_store(tmp_path).folder / "study.db").trials
    assert row.datetime_complete is not None and before.datetime_complete is not None
    assert abs(row.datetime_complete - before.datetime_complete) < timedelta(seconds=0.2)
    assert row.duration is not None and row.duration.total_seconds() == pytest.approx(50, abs=0.5)


def dashboard(path: Path, address: str) -> Any:
    """What the dashboard's own server answers a browser."""
    optuna_dashboard = pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed")
    answered: list[str] = []
    environment: dict[str, Any] = {"PATH_INFO": address, "REQUEST_METHOD": "GET", "wsgi.input": io.BytesIO()}
    setup_testing_defaults(environment)
    body = optuna_dashboard.wsgi(f"sqlite:///{path}")(environment, lambda status, *more: answered.append(status))
    assert answered[0].startswith("200"), answered
    return json.loads(b"".join(body))


def test_the_dashboard_shows_names_objectives_durations_and_every_decision(tmp_path: Path) -> None:
    store = TrialStore(tmp_path, "mine", OBJECTIVES)
    trial = replace(a_trial(1), seconds={"training": 30.0})
    end(store, trial)
    end(store, a_trial(2, TrialState.GATED))
    end(store, a_trial(3, TrialState.FAILED))
    (listed,) = dashboard(store.folder / "study.db", "/api/studies")["study_summaries"]
    assert listed["study_name"] == "mine" and listed["directions"] == ["maximize", "minimize"]
    found = dashboard(store.folder / "study.db", f"/api/studies/{listed['study_id']}")
    assert found["objective_names"] == list(OBJECTIVES)
    assert [each["state"] for each in found["trials"]] == ["Complete", "Pruned", "Fail"]
    first = found["trials"][0]
    assert first["values"] == [0.9, 1.0]
    assert {each["name"] for each in first["params"]} == {variable.name for variable in SPACE}
    lasted = datetime.fromisoformat(first["datetime_complete"]) - datetime.fromisoformat(first["datetime_start"])
    assert lasted.total_seconds() == pytest.approx(30, abs=0.5)


@pytest.mark.slow
def test_the_dashboard_opens_a_study_of_a_real_search(finished: Front, tmp_path: Path) -> None:
    path = Path(shutil.copy(finished.folder / "study.db", tmp_path))  # it may write to what it opens
    (listed,) = dashboard(path, "/api/studies")["study_summaries"]
    found = dashboard(path, f"/api/studies/{listed['study_id']}")
    assert found["objective_names"] == list(finished.objectives)
    space = {each["name"] for each in json.loads((finished.folder / "space.json").read_text())["variables"]}
    for row, trial in zip(found["trials"], finished.trials, strict=True):
        assert {each["name"] for each in row["params"]} == space
        kept = next(each["value"] for each in row["user_attrs"] if each["key"] == "trial")
        assert json.loads(kept)["number"] == trial.number
        lasted = datetime.fromisoformat(row["datetime_complete"]) - datetime.fromisoformat(row["datetime_start"])
        assert lasted.total_seconds() >= sum(trial.seconds.values()) - 0.1
