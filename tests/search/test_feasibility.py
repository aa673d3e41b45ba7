"""What a study asks of a model: every check agrees with the words of the documentation."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulation import latency

from autocompress.errors import UsageError
from autocompress.search.asked import tell_points
from autocompress.search.feasibility import LEAST_INTEREST, Limits, after_drop
from autocompress.search.store.facts import TaskFacts
from autocompress.studies.metric import MetricLabel
from autocompress.studies.study_file import StudyFile

milliseconds = st.floats(0.1, 10)
widths = st.floats(1.0, 1.5)


@given(milliseconds, widths, milliseconds, st.sampled_from([50, 90, 95, 99]))
def test_what_surely_misses_never_meets_and_interest_is_highest_where_it_just_meets(
    ms: float, wide: float, budget_ms: float, percentile: int
) -> None:
    limits = Limits(("here",), budget_ms, percentile=percentile)
    found = {"here": latency(ms, wide)}
    if limits.surely_missed(found, 1):
        assert not limits.meets_latency(found)
    assert LEAST_INTEREST <= limits.interest(found) <= 1
    excess = limits.excess(found)
    assert excess is not None and (excess <= 0) == limits.meets_latency(found)
    assert limits.violation(found, 1) == excess
    nearer = {"here": latency(ms * 0.99, wide)}
    if excess <= 0:
        assert limits.interest(nearer) <= limits.interest(found)


def test_a_file_over_the_size_is_a_violation_whatever_its_latency() -> None:
    limits = Limits(("cpu",), max_mb=1.0)
    assert limits.violation({"cpu": latency(1.0)}, 1_500_000) == pytest.approx(0.5)
    assert "1.5 MB, over the limit of 1 MB" in limits.surely_missed({"cpu": latency(1.0)}, 1_500_000)
    assert not limits.surely_missed({"cpu": latency(1.0)}, 1_000_000)


def test_each_target_has_its_own_budget_or_the_common_one() -> None:
    settings = StudyFile().changed("target", runtime=("onnxruntime", "openvino"))
    settings = settings.changed("budget", latency_ms=5.0, on={"openvino": 2.0}, percentile=90, min_accuracy=0.5)
    limits = Limits.of(settings)
    assert limits.budgets == {"onnxruntime": 5.0, "openvino": 2.0} and limits.percentile == 90
    both = {"onnxruntime": latency(1.0, 1.0), "openvino": latency(1.9, 1.0)}
    assert not limits.meets_latency(both), "p90 of the second is at 2.28 ms"
    assert limits.parts(both) == pytest.approx({"onnxruntime": 1.2 / 5, "openvino": 2.28 / 2})
    assert "on openvino" in limits.surely_missed({**both, "openvino": latency(4.0)}, 1)
    assert limits.meets_latency({"onnxruntime": both["onnxruntime"]}), "a model for one of them"


def test_limits_are_replaced_one_by_one() -> None:
    limits = Limits(("here",), 5.0, {"here": 3.0}, 95, 2.0, 0.7)
    assert limits.changed() == limits
    assert limits.changed(max_mb=1.0) == replace(limits, max_mb=1.0)
    assert limits.changed(1.0, 0.9).budgets == {"here": 3.0}


def test_without_limits_everything_is_met_and_equally_interesting() -> None:
    limits = Limits(("here",))
    assert limits.are_met({"here": latency(99.0)}, 0.0, 1e12)
    assert limits.interest({"here": latency(1.0)}) == 1.0 and limits.excess({"here": latency(1.0)}) is None
    assert limits.violation({"here": latency(1.0)}, 10) == 0.0
    assert not limits.out_of_reach("here", latency(99.0))


@pytest.mark.parametrize("percentile", [50, 99])
def test_a_budget_is_out_of_reach_only_where_the_gate_would_stop_the_fastest_plan(percentile: int) -> None:
    fastest = latency(1.05, 1.1)
    for budget in (fastest.least(percentile) * 0.99, fastest.least(percentile) * 1.01):
        limits = Limits(("here",), budget, percentile=percentile)
        assert limits.out_of_reach("here", fastest) == bool(limits.surely_missed({"here": fastest}, 0))
        assert limits.out_of_reach("here", fastest) == (budget < fastest.least(percentile)), "else it may yet keep it"
    assert not limits.out_of_reach("elsewhere", latency(9.0))


@given(st.floats(0.01, 100), st.floats(0, 50), st.sampled_from(["maximize", "minimize"]))
def test_a_drop_is_against_the_teacher_whatever_is_better(value: float, percent: float, direction: str) -> None:
    label = MetricLabel("m", direction)  # type: ignore[arg-type]
    worst = label.shown(after_drop(label.kept(value), f"{percent:.3f}%"))
    sign = -1 if label.maximized else 1
    assert worst == pytest.approx(value * (1 + sign * round(percent, 3) / 100))
    assert label.shown(after_drop(label.kept(value), "2pt")) == pytest.approx(value + sign * 0.02)
    assert label.shown(after_drop(label.kept(value), "0.5")) == pytest.approx(value + sign * 0.5)


@pytest.mark.parametrize("drop", ["", "a", "1 percent", "-1%", "nan", "inf"])
def test_a_drop_that_cannot_be_is_told(drop: str) -> None:
    with pytest.raises(UsageError, match="max_drop"):
        after_drop(0.9, drop)


@pytest.mark.parametrize(
    ("drop", "teacher", "told"),
    [("1.5pt", 92.31, "1.5pt is 0.015 in accuracy, of which the teacher has 92.31; max_drop = 1.5 is 1.5"),
     ("1.5pt", 0.9231, None), ("1.5pt", None, None), ("1.5%", 92.31, None), (None, 92.31, None)],
)  # fmt: skip
def test_points_of_a_metric_in_percent_are_told(drop: str | None, teacher: float | None, told: str | None) -> None:
    said: list[str] = []
    tell_points(StudyFile().changed("budget", max_drop=drop), TaskFacts(teacher=teacher), said.append)
    assert len(said) == (told is not None) and all(str(told) in line for line in said)


def test_a_drop_is_a_limit_that_the_search_looks_at() -> None:
    settings = StudyFile().changed("budget", max_drop="10%")
    assert Limits.of(settings).min_accuracy is None, "the teacher is not known yet"
    limits = Limits.of(settings, TaskFacts(teacher=0.9))
    assert limits.min_accuracy == pytest.approx(0.81)
    here = {settings.target.targets()[0].name: latency(1.0)}
    assert limits.are_met(here, 0.82, 1) and not limits.are_met(here, 0.80, 1)
    just, far_above, far_below = (limits.interest(here, q) for q in (0.811, 0.99, 0.5))
    assert just > far_above >= LEAST_INTEREST and just > far_below >= LEAST_INTEREST
