"""A metric of the user's own that has the name of a built-in one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_task
import torch
from brief import brief

from autocompress.search.report.intervals import MetricIntervals
from autocompress.search.study import opened
from autocompress.studies.study_file import StudyFile


def accuracy(outputs: torch.Tensor, labels: torch.Tensor) -> float:
    """The mean over classes of the share that is right: no share of the examples."""
    right = (outputs.argmax(1) == labels).double()
    return float(torch.stack([right[labels == label].mean() for label in labels.unique()]).mean())


@pytest.mark.slow
def test_a_study_knows_that_it_is_no_share_of_its_examples(tmp_path: Path, sections: dict[str, dict[str, Any]]) -> None:
    settings = StudyFile()
    for name, values in sections.items():
        settings = settings.changed(name, **values)
    known = {}
    for name, metric in (("built in", None), ("own", accuracy)):
        task = tiny_task.task()
        runs = tmp_path / name
        with brief(), opened(settings, task if metric is None else replace(task, metric=metric), runs) as study:
            intervals = MetricIntervals.of(study.folder)
        assert intervals.metric.name == "accuracy"
        known[name] = intervals.around(0.9, "test").low is not None
    assert known == {"built in": True, "own": False}
