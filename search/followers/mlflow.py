"""Trials in MLflow: an experiment named by the study, a run for the study, and one below it for each trial.

Needs `mlflow` or `mlflow-skinny`.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .base import EndedTrial, FollowedStudy, without_password

STUDY, TRIAL = "autocompress.study", "autocompress.trial"
"""Tags of runs: which study they are of, and which trial. The run of the study itself has no number."""
PARENT = "mlflow.parentRunId"
STATUS = {"finished": "FINISHED", "gated": "KILLED", "failed": "FAILED"}
AT_ONCE = 100
"""Parameters, and metrics, that a server takes in one request."""
SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # by default it tries for many minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_DISABLE_TELEMETRY": "true",  # a search tells nobody of itself
}
"""Of MLflow's client, unless the user has said otherwise."""


class MlflowFollower:
    """Logs to a tracking server, or into a database, through MLflow's own client."""

    def __init__(self, uri: str) -> None:
        """Log to where `uri` says, in any form that MLflow takes.

        Raises:
            ImportError: MLflow is not installed, or does not work.
        """
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient  # now, as importing it later would disturb measurements for seconds

        for library in ("mlflow", "alembic"):
            logging.getLogger(library).setLevel(logging.WARNING)
        self._uri, self._make_client = uri, MlflowClient
        self._client: Any = None
        self._experiment = self._parent = ""
        self._study = FollowedStudy("", "")

    @property
    def where(self) -> str:
        """See `Follower`."""
        return f"MLflow at {without_password(self._uri)}"

    def open(self, study: FollowedStudy) -> set[int]:
        """See `Follower`."""
        self._study, self._client = study, self._make_client(tracking_uri=self._uri)
        known = self._client.get_experiment_by_name(study.name)
        self._experiment = known.experiment_id if known else self._client.create_experiment(study.name)
        found: set[int] = set()
        self._parent = ""
        # of two for one trial the one stays that more was logged of
        for run in sorted(self._runs(), key=lambda run: -len(run.data.params) - len(run.data.metrics)):
            number = run.data.tags.get(TRIAL, "")
            if not number:
                self._parent = run.info.run_id
            elif run.info.status == "RUNNING" or int(number) in found:
                # its search was killed while it was logged, or the server did late what one had asked for that ended
                self._client.delete_run(run.info.run_id)
            else:
                found.add(int(number))
        if self._parent:
            self._client.update_run(self._parent, status="RUNNING")
        else:
            tags = {STUDY: study.identity, "objectives": ", ".join(study.objectives)}
            self._parent = self._client.create_run(self._experiment, tags=tags, run_name=study.name).info.run_id
        return found

    def add(self, trial: EndedTrial) -> None:
        """See `Follower`."""
        curves = {**trial.figures, **{f"seconds/{kind}": seconds for kind, seconds in trial.seconds.items()}}
        of_study = dict(trial.figures)
        if trial.hypervolume is not None:
            of_study["hypervolume"] = trial.hypervolume
        self._log_metrics(self._parent, ((name, value, trial.number) for name, value in of_study.items()), trial)
        tags = {
            STUDY: self._study.identity,
            TRIAL: str(trial.number),
            PARENT: self._parent,
            "state": trial.state,
            "origin": trial.label,
        }
        if trial.reason:
            tags["reason"] = trial.reason[:2000]
        begun_ms = round(1000 * trial.begun_at_s)
        name = f"trial {trial.number} ({trial.label})"
        run = self._client.create_run(self._experiment, begun_ms, tags, name).info.run_id
        self._log_params(run, trial.decisions)
        rungs = [("rungs", metric, rung) for rung, metric in enumerate(trial.rungs, 1)]
        self._log_metrics(run, [*((name, value, trial.number) for name, value in curves.items()), *rungs], trial)
        self._client.set_terminated(run, STATUS[trial.state], round(1000 * trial.ended_at_s))

    def close(self) -> None:
        """See `Follower`."""
        client, self._client = self._client, None
        if client is not None and self._parent:
            client.set_terminated(self._parent, "FINISHED")

    def _runs(self) -> Iterator[Any]:
        """Yield all runs of the study."""
        token = None
        while True:
            wanted = f"tags.`{STUDY}` = '{self._study.identity}'"
            page = self._client.search_runs([self._experiment], wanted, max_results=1000, page_token=token)
            yield from page
            if not (token := page.token):
                return

    def _log_metrics(self, run: str, found: Iterable[tuple[str, float, int]], trial: EndedTrial) -> None:
        from mlflow.entities import Metric

        at_ms = round(1000 * trial.ended_at_s)
        metrics = [Metric(_name(name), value, at_ms, step) for name, value, step in found]
        for first in range(0, len(metrics), AT_ONCE):
            self._client.log_batch(run, metrics=metrics[first : first + AT_ONCE])

    def _log_params(self, run: str, decisions: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        named: dict[str, str] = {}
        for name, option in decisions.items():
            key = _name(name)
            while key in named:
                key += "_"
            named[key] = str(option)
        params = [Param(key, option) for key, option in named.items()]
        for first in range(0, len(params), AT_ONCE):
            self._client.log_batch(run, params=params[first : first + AT_ONCE])


def _name(name: str) -> str:
    """Return a name in characters that MLflow takes on every system."""
    return re.sub(r"[^/\w.\- ]", "_", name)[:250]
