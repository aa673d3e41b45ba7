"""Trials in MLflow: whole and once, also when a study goes on or the server is away."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from followed import ended, follow
from simulated_study import write_study

from autocompress.search.followers.mlflow import STUDY, TRIAL, MlflowFollower
from autocompress.search.followers.telling import followed_study
from autocompress.search.report.front import Front


@pytest.fixture
def front(tmp_path: Path) -> Front:
    return write_study(tmp_path / "runs" / "simulated", 14, layers=6)


@pytest.fixture
def mlflow_uri(tmp_path: Path) -> str:
    pytest.importorskip("mlflow", reason="the extra 'mlflow' is not installed")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


def runs_of(uri: str) -> tuple[Any, Any, dict[int, Any]]:
    """MLflow's client, the run of the study, and those of its trials by number."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("simulated")
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    (study,) = [run for run in runs if TRIAL not in run.data.tags]
    numbers = [int(run.data.tags[TRIAL]) for run in runs if TRIAL in run.data.tags]
    assert len(set(numbers)) == len(numbers), "each once"
    return client, study, {int(run.data.tags[TRIAL]): run for run in runs if TRIAL in run.data.tags}


def key(name: str) -> str:
    """A name as MLflow has it."""
    return re.sub(r"[^/\w.\- ]", "_", name)


@pytest.mark.slow
def test_mlflow_has_each_trial_once_also_when_a_study_goes_on(front: Front, mlflow_uri: str) -> None:
    assert follow(MlflowFollower(mlflow_uri), front, 3) == []
    client, study, runs = runs_of(mlflow_uri)
    identity = followed_study(front.folder, front.objectives).identity
    killed = client.create_run(study.info.experiment_id, tags={STUDY: identity, TRIAL: "4"})
    late = client.create_run(study.info.experiment_id, tags={STUDY: identity, TRIAL: "2"})
    client.set_terminated(late.info.run_id, "FINISHED")  # of a driver that had left, and was answered late
    assert follow(MlflowFollower(mlflow_uri), front, 8, 14) == [] == follow(MlflowFollower(mlflow_uri), front, 14)
    client, study, runs = runs_of(mlflow_uri)
    trials = ended(front)
    assert runs.keys() == trials.keys() and runs[4].info.run_id != killed.info.run_id
    for number, run in runs.items():
        trial = trials[number]
        assert run.data.params == {key(name): str(option) for name, option in trial.decisions.items()}
        figures = {key(name): value for name, value in trial.figures.items()}
        assert {name: run.data.metrics[name] for name in figures} == pytest.approx(figures)
        assert run.data.metrics["seconds/measuring"] == pytest.approx(trial.seconds["measuring"])
        assert run.data.tags["state"] == trial.state and run.data.tags["mlflow.parentRunId"] == study.info.run_id
        assert run.info.status == {"finished": "FINISHED", "gated": "KILLED", "failed": "FAILED"}[trial.state]
        assert run.info.end_time - run.info.start_time == pytest.approx(1000 * sum(trial.seconds.values()), abs=2)
        if trial.rungs:
            history = client.get_metric_history(run.info.run_id, "rungs")
            assert [(each.step, each.value) for each in history] == list(enumerate(trial.rungs, 1))
    volumes = client.get_metric_history(study.info.run_id, "hypervolume")
    assert [each.step for each in volumes] == [n for n, trial in trials.items() if trial.hypervolume is not None]
    assert study.info.status == "FINISHED"


@pytest.mark.slow
def test_a_server_that_is_away_costs_two_lines_without_its_password(
    front: Front, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # that is so by itself, after longer waits
    said = follow(MlflowFollower("http://somebody:secret@127.0.0.1:9"), front, 14)
    assert len(said) == 2 and "cannot be logged to MLflow at http://somebody:***@127.0.0.1:9" in said[0]
    assert "14 trials are not logged" in said[1] and not any("secret" in line for line in said)
    assert follow(MlflowFollower(mlflow_uri), front, 14) == []
    assert len(runs_of(mlflow_uri)[2]) == 14
