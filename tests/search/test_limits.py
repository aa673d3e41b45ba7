"""Limits in words, against the teacher, kept between runs, and marked where a model misses one."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_front import HERE, finished_trial, latency

from autocompress.cli.options import with_options
from autocompress.errors import UsageError
from autocompress.search.feasibility import Limits
from autocompress.search.report import table
from autocompress.search.report.front import Front
from autocompress.search.store.facts import TaskFacts
from autocompress.search.store.settings import with_earlier_choices, write_settings
from autocompress.search.trial import Origin
from autocompress.studies.metric import MetricLabel
from autocompress.studies.study_file import StudyFile

FACTS = TaskFacts(teacher=0.9, teacher_ms={"a": 10.0, "b": 4.0}, teacher_bytes=2_000_000)


def asked(**options: Any) -> StudyFile:
    names = ("budget_ms", "budget", "speedup", "percentile", "min_accuracy", "max_drop", "max_mb", "max_size")
    others = (
        "minutes",
        "hours",
        "trials",
        "patience",
        "workers",
        "executor",
        "address",
        "cpus_per_job",
        "gpus_per_job",
        "shared",
        "seed",
        "storage",
        "threads",
        "batch",
        "precision",
        "forget_limits",
        "baselines",
    )
    every = dict.fromkeys((*names, *others)) | {"targets": ("a", "b"), "any_of": False}
    return with_options(StudyFile(), {**every, **options})


@pytest.mark.parametrize("options", [{"budget": "50%"}, {"speedup": 2.0}])
def test_a_budget_may_be_a_part_of_the_teachers_latency_on_each_target(options: dict[str, Any]) -> None:
    settings = asked(**options)
    assert Limits.of(settings).budgets == {}, "the teacher was not measured yet"
    limits = Limits.of(settings, FACTS)
    assert limits.budgets == {"a": 5.0, "b": 2.0}
    assert limits.in_words() == [
        "p50 budget on a 5 ms (50 % of the teacher's)",
        "p50 budget on b 2 ms (50 % of the teacher's)",
    ]


def test_a_target_may_keep_a_budget_of_its_own() -> None:
    limits = Limits.of(asked(budget="50%").changed("budget", on={"b": 3.0}), FACTS)
    assert limits.budgets == {"a": 5.0, "b": 3.0}


def test_a_part_of_the_teachers_latency_is_held_against_the_ratio() -> None:
    limits = Limits.of(asked(budget="50%", targets=("a",)), replace(FACTS, teacher_ms={"a": 10.0}))
    unsure = replace(latency(4.5, 1.3), ratio=0.45, ratio_low=0.44, ratio_high=0.46)
    assert limits.meets_latency({"a": unsure}), "its milliseconds may be 5.85, as the teacher's may be 13"
    assert not limits.meets_latency({"a": replace(unsure, ratio_high=0.51)})
    assert not limits.out_of_reach("a", replace(unsure, ratio_low=0.49, ratio_high=0.6))
    assert limits.out_of_reach("a", replace(unsure, ratio=0.55, ratio_low=0.51, ratio_high=0.6))


@given(st.floats(1.001, 1.1), st.floats(1.001, 1.6), st.floats(1.0, 2.0), st.floats(0.0, 0.5))
def test_a_tail_of_the_teachers_median_has_the_interval_of_ratio_and_tail_together(
    ratio_wide: float, calibration_wide: float, tail: float, own: float
) -> None:
    """What is not known of the calibration is in milliseconds alone, and in no part of the teacher's latency."""
    limits = Limits(("a",), on={"a": 3.0}, percentile=99, relative={"a": 0.75})
    wide = math.exp(math.hypot(math.log(ratio_wide), math.log(calibration_wide)))
    found = replace(
        latency(2.0, wide), ratio=0.5, ratio_low=0.5 / ratio_wide, ratio_high=0.5 * ratio_wide,
        p99_ms=2.0 * tail, tails={"99": (own, own)},
    )  # fmt: skip
    half = math.exp(math.hypot(own, math.log(ratio_wide)))
    assert limits.parts({"a": found})["a"] == pytest.approx(0.5 * tail * half / 0.75)
    assert limits.held_ms("a", found) == pytest.approx((2 * tail / half, 2 * tail, 2 * tail * half))
    assert limits.out_of_reach("a", found) == (0.5 * tail / half > 0.75)
    assert limits.in_words() == ["p99 budget 3 ms (75 % of the teacher's median)"]


def test_the_stricter_of_two_sizes_counts() -> None:
    assert Limits.of(asked(max_size="25%"), FACTS).max_mb == 0.5
    assert Limits.of(asked(max_size="25%", max_mb=0.4), FACTS).max_mb == 0.4
    assert Limits.of(asked(max_size="25%", max_mb=3.0), FACTS).max_mb == 0.5


def test_budgets_with_a_unit() -> None:
    assert asked(budget="5ms").budget.latency_ms == asked(budget_ms=5.0).budget.latency_ms == 5.0
    over = with_options_on(StudyFile().changed("budget", latency_ms=3.0), budget="40%")
    assert over.budget.latency_ms is None and over.budget.latency == "40%", "in place of what the file asks for"
    for wrong, said in (({"budget": "fast"}, "5ms"), ({"budget": "5ms", "budget_ms": 5.0}, "give one of them")):
        with pytest.raises(UsageError, match=said):
            asked(**wrong)
    with pytest.raises(UsageError, match="keep one"):
        asked(budget="50%", speedup=2.0)


def with_options_on(settings: StudyFile, **options: Any) -> StudyFile:
    every = dict.fromkeys(
        ("budget_ms", "budget", "speedup", "percentile", "min_accuracy", "max_drop", "max_mb", "max_size", "minutes",
         "hours", "trials", "patience", "workers", "executor", "address", "cpus_per_job", "gpus_per_job", "shared",
         "seed", "storage", "threads", "batch", "precision", "forget_limits", "baselines")
    )  # fmt: skip
    return with_options(settings, {**every, "targets": (), "any_of": False, **options})


def test_limits_are_kept_between_runs_until_others_are_said(tmp_path: Path) -> None:
    write_settings(tmp_path, asked(max_mb=1.0, budget="50%", max_drop="1pt"))
    same, kept, _ = with_earlier_choices(tmp_path, StudyFile())
    assert (same.budget.max_mb, same.budget.latency, same.budget.max_drop) == (1.0, "50%", "1pt")
    assert sorted(kept) == ["latency = '50%'", "max_drop = '1pt'", "max_mb = 1.0"]
    other, kept, _ = with_earlier_choices(tmp_path, asked(budget_ms=3.0, max_mb=2.0))
    assert (other.budget.max_mb, other.budget.latency_ms, other.budget.latency) == (2.0, 3.0, None)
    assert kept == ["max_drop = '1pt'"]
    assert with_earlier_choices(tmp_path / "none", StudyFile()) == (StudyFile(), [], [])


def front(**limits: Any) -> Front:
    trials = (
        replace(finished_trial(1, 0.90, latency(10.0, 1.0), 2_000_000), origin=Origin.TEACHER, label="teacher"),
        finished_trial(2, 0.88, latency(4.0, 1.0), 900_000),
        finished_trial(3, 0.95, latency(6.0, 1.0), 400_000),
    )
    return Front(Path("study"), ("accuracy", "latency_ms"), trials, {}, Limits((HERE,), **limits))


def cells(found: Front) -> dict[str, dict[str, str]]:
    made = found
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table, "_near", lambda *_: "model.onnx")
        return {row[1]: dict(zip(table.heads(made), row, strict=True)) for row in table.rows(made)}


def test_a_figure_that_misses_its_limit_is_marked_and_a_tail_is_shown() -> None:
    found = cells(front(budget_ms=6.0, percentile=95, min_accuracy=0.89, max_mb=0.5))
    assert found["2"]["p95 ms"] == "5.200" and found["3"]["p95 ms"] == "7.800 !"
    assert found["2"]["accuracy"] == "0.8800 !" and found["3"]["accuracy"] == "0.9500"
    assert found["2"]["kB"] == "900 !" and found["3"]["kB"] == "400"
    assert not any("<" in row[""] for row in found.values())
    found = cells(front(min_accuracy=0.89, max_mb=0.5))
    assert "p95 ms" not in found["3"] and "<" in found["3"][""] and "<" not in found["2"][""]


def test_the_legend_says_what_stands_in_the_table_and_nothing_else() -> None:
    plain, asked_for = table.legend(front()), table.legend(front(budget_ms=6.0, percentile=95))
    assert "limit" not in plain and "disturbed" not in plain
    assert "< meets every limit, ! misses one" in asked_for and "p95" in asked_for
    assert "p95 budget 6 ms" in table.title(front(budget_ms=6.0, percentile=95))


def test_limits_in_words() -> None:
    limits = Limits((HERE,), 5.0, max_mb=1.5, min_accuracy=-3.0, metric=MetricLabel("RMSE", "minimize"))
    assert limits.in_words() == ["p50 budget 5 ms", "RMSE at most 3.0000", "at most 1.5 MB"]
    assert Limits((HERE,)).in_words() == [] and not Limits((HERE,)).any
