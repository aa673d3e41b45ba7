"""The learning rate that students of a study are taught with, found by short trainings where AdamW teaches."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocompress.compression.student import Student
from autocompress.search.evaluate.context import EvaluationContext
from autocompress.search.executors.base import ExecutorContext
from autocompress.search.prepare import learning_rate
from autocompress.search.prepare.learning_rate import CAREFUL_RATE, KEPT, LEAST_RATE, MOST_RATE, try_rates
from autocompress.search.prepare.space import prepare_space
from autocompress.spaces.space import Space
from autocompress.spaces.spec import ADAMW_PART, Recovery
from autocompress.studies.metric import metric_of


@given(st.floats(-12, 0), st.floats(0.01, 10))
def test_the_best_of_the_rates_is_found_where_both_sides_fall(peak: float, width: float) -> None:
    def quality(rate: float) -> float:
        return -abs(math.log(rate) - peak) / width

    found = try_rates(quality)
    best = max(found, key=lambda rate: found[rate])
    assert all(LEAST_RATE <= rate <= MOST_RATE for rate in found)
    for other in (3 * best, best / 3):
        if LEAST_RATE * 1.01 < other < MOST_RATE / 1.01:
            assert quality(best) >= quality(other) - 0.02 / width, "no neighbour is better but for its rounding"


def test_what_there_was_no_time_for_is_not_guessed() -> None:
    assert try_rates(lambda rate: None) == {}
    assert list(try_rates(lambda rate: 0.5 if rate == CAREFUL_RATE else None)) == [CAREFUL_RATE]
    diverging = try_rates(lambda rate: 0.9 if rate < 0.001 else float("-inf"))
    assert max(diverging, key=lambda rate: diverging[rate]) < 0.001


@pytest.fixture
def context(opened_context: ExecutorContext, tmp_path: Path) -> EvaluationContext:
    found = opened_context.context
    return replace(found, folder=tmp_path, network=replace(found.network, norms_layers=True))


def space_of(context: EvaluationContext, opened: ExecutorContext, said: list[str], **recovery: object) -> Space:
    settings = opened.settings.changed("recovery", **recovery) if recovery else opened.settings
    return prepare_space(context, settings, said.append).space


def test_a_study_tries_rates_once_and_takes_the_best(
    context: EvaluationContext, opened_context: ExecutorContext, briefly: None
) -> None:
    said: list[str] = []
    rate = space_of(context, opened_context, said).context.recovery.learning_rate
    kept = json.loads((context.folder / KEPT).read_text())
    tried = dict(kept["tried"])
    assert rate == kept["learning_rate"] and tried[rate] == max(q for q in tried.values() if q is not None)
    assert len(tried) > 1
    (line,) = (line for line in said if "AdamW" in line)
    assert f"learning rate of {ADAMW_PART * rate:.2g}" in line
    said.clear()
    again = space_of(context, opened_context, said)
    assert again.context.recovery.learning_rate == rate and not any("AdamW" in line for line in said)
    variable = again.variable("recovery:learning_rate")
    assert variable is not None and variable.options == (rate,)


def test_rates_after_which_the_metric_is_not_defined_are_none_to_take(
    context: EvaluationContext, opened_context: ExecutorContext, briefly: None
) -> None:
    """Such as a correlation with answers that are all the same, which too large a rate ends at."""
    odd = replace(context, task=replace(context.task, metric=metric_of(lambda outputs, labels: float("nan"))))
    said: list[str] = []
    assert space_of(odd, opened_context, said).context.recovery.learning_rate == CAREFUL_RATE
    assert any("none at" in line for line in said)


def test_a_student_that_cannot_be_taught_costs_no_search_its_begin(
    context: EvaluationContext, opened_context: ExecutorContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as one that a GPU has no memory for: students of fewer channels may be taught all the same."""

    def no_memory(*arguments: object) -> Student:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(learning_rate, "make_student", no_memory)
    assert space_of(context, opened_context, []).context.recovery.learning_rate == CAREFUL_RATE


def test_a_study_that_was_begun_or_names_its_rate_tries_none(
    context: EvaluationContext, opened_context: ExecutorContext, briefly: None
) -> None:
    said: list[str] = []
    found = space_of(context, opened_context, said, learning_rate=0.0003).context.recovery
    assert found.peak_rate == pytest.approx(0.0003), "a user's rate is that of the study's own optimizer"
    with_sgd = space_of(context, opened_context, said, optimizer="sgd").context.recovery
    assert with_sgd.learning_rate == Recovery.learning_rate
    (context.folder / "trials" / "0001").mkdir(parents=True)
    (context.folder / "trials" / "0001" / "plan.json").write_text("{}")
    begun = space_of(context, opened_context, said).context.recovery
    assert begun.learning_rate == Recovery.learning_rate
    assert not (context.folder / KEPT).exists() and not any("AdamW" in line for line in said)


def test_what_a_search_may_draw_lies_around_the_usual_rate(opened_context: ExecutorContext, briefly: None) -> None:
    settings = opened_context.settings.changed("space", axes=("channels", "recovery"))
    bounds = []
    for rate in (None, 0.0002):
        found = prepare_space(opened_context.context, settings.changed("recovery", learning_rate=rate), print).space
        variable = found.variable("recovery:learning_rate")
        assert variable is not None and variable.bounds is not None
        bounds.append((variable.bounds.low, variable.bounds.high))
    assert bounds[0] == (0.003, 0.1)
    assert bounds[1] == pytest.approx((0.003 / 100, 0.1 / 100))


def test_a_metric_that_says_nothing_of_short_trainings_does_not_end_a_search(
    context: EvaluationContext, opened_context: ExecutorContext, briefly: None
) -> None:
    undefined = metric_of(lambda outputs, labels: float("nan"))
    said: list[str] = []
    context = replace(context, task=replace(context.task, metric=undefined))
    assert space_of(context, opened_context, said).context.recovery.learning_rate == CAREFUL_RATE
    assert any("none at" in line for line in said)
