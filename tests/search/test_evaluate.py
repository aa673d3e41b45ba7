"""One job of a trial: what ends the trial, and what ends the study."""

from __future__ import annotations

from dataclasses import replace

import pytest
from torch import Tensor

from autocompress.errors import MetricError
from autocompress.search.evaluate.evaluation import Job, evaluate
from autocompress.search.executors.base import Workplace
from autocompress.spaces.plan import Plan


def undefined(outputs: Tensor, labels: Tensor) -> float:
    return float("nan")


@pytest.mark.slow
def test_a_metric_that_is_undefined_for_one_student_ends_that_trial_alone(workplace: Workplace) -> None:
    bench = replace(workplace.bench, task=replace(workplace.bench.task, metric=undefined))
    result = evaluate(bench, Job(901, bench.space.uniform(1.0, 8, None), "build"))
    assert "undefined" in result.failure and result.measurement is None
    with pytest.raises(MetricError):
        evaluate(bench, Job(902, Plan(), "build"))
