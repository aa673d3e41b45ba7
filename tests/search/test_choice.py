"""Choosing among many: intervals of the metric, ties, limits by the lower end, and what is reported of the chosen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from test_front import HERE, Asked, asked_limits, finished_trial, fronts, latency

from autocompress.search.evaluate.bootstrap import standard_error
from autocompress.search.feasibility import Limits
from autocompress.search.report.choice import choice_lines
from autocompress.search.report.entry import Confirmed, Entry
from autocompress.search.report.front import Front
from autocompress.search.report.html.answer import answer
from autocompress.search.report.html.comparing import contender_of
from autocompress.search.report.html.points import latency_columns, trial_columns
from autocompress.search.report.html.record import Record
from autocompress.search.report.intervals import Interval, MetricIntervals, speed_up
from autocompress.search.report.picked import line
from autocompress.search.report.table import legend, rows, verdict
from autocompress.search.report.techniques import no_slower
from autocompress.search.report.terminal_plot import points_of
from autocompress.search.store.facts import TaskFacts
from autocompress.search.trial import Origin, Trial
from autocompress.spaces.spec import StudentSpec
from autocompress.studies.metric import ACCURACY, MetricLabel, metric_of, micro_f1, rmse, top1
from autocompress.studies.study_file import StudyFile


def front(*trials: Trial, examples: int = 360, limits: Limits | None = None) -> Front:
    intervals = MetricIntervals(ACCURACY, {"validation": examples} if examples else {})
    asked = limits or Limits((HERE,), 50.0)
    return Front(Path("study"), ("accuracy", "latency_ms"), trials, {}, asked, intervals=intervals)


def at(number: int, accuracy: float, ms: float, ratio: float | None = None) -> Trial:
    ratio = ms / 10 if ratio is None else ratio
    found = replace(latency(ms, 1.02), ratio=ratio, ratio_low=ratio / 1.02, ratio_high=ratio * 1.02)
    return finished_trial(number, accuracy, found)


def test_one_image_of_360_does_not_decide_between_two_models() -> None:
    """358 and 357 right: the faster of the two is taken, however long the search went on."""
    slow, fast, worse = at(1, 358 / 360, 2.326), at(2, 357 / 360, 1.807), at(3, 300 / 360, 1.0)
    assert front(slow, fast, worse).pick().entry.number == 2
    assert front(slow, fast, worse, examples=360_000).pick().entry.number == 1
    assert front(slow, fast, worse, examples=0).pick().entry.number == 1, "nothing is known of chance"
    assert front(slow, fast, worse).pick(policy="accuracy").entry.number == 1
    said = "\n".join(choice_lines(front(slow, fast, worse).pick()))
    assert "fastest model whose accuracy is within a standard error of the best (0.9944 of trial 1)" in said


def test_speed_is_worth_no_more_of_the_metric_than_a_standard_error() -> None:
    """900 and 890 right of 1000 are within noise; 875 are not, though intervals of different examples would overlap."""
    best, near, far = at(1, 0.900, 3.0), at(2, 0.890, 2.0), at(3, 0.875, 1.0)
    assert front(best, near, far, examples=1000).pick().entry.number == 2
    assert front(best, far, examples=1000).pick().entry.number == 1


def test_a_limit_on_the_metric_is_held_against_the_lower_end_of_its_interval() -> None:
    found = front(at(1, 0.95, 1.0), at(2, 0.97, 2.0), limits=Limits((HERE,)))
    assert [e.number for e in found.under(found.limits.changed(min_accuracy=0.94))] == [2]
    assert found.under(found.limits.changed(min_accuracy=0.96)) == []
    explained = found.explain(found.limits.changed(min_accuracy=0.96))
    assert "whose interval begins at 0.94" in explained
    marked = replace(found, limits=found.limits.changed(min_accuracy=0.94))
    assert "counts by the lower end" in legend(marked)
    drop = replace(found.limits, min_accuracy=0.95)
    assert len(found.under(drop)) == 2, "a limit against the teacher is between figures on the same examples"


def test_points_that_cannot_be_told_apart_are_marked() -> None:
    close = front(at(1, 0.9917, 1.00), at(2, 0.9944, 1.01), at(3, 0.9972, 2.0))
    assert close.indistinct == {2}
    marks = {row[1]: row[0][0] for row in rows(_with_files(close))}
    assert marks == {"1": "*", "2": "~", "3": "*"} and "not to be told" in legend(close)


def test_models_are_told_apart_by_the_latency_that_is_shown_of_them() -> None:
    """The first was chosen at 1.00 ms; measured anew it takes 1.50 ms, which no longer overlaps with 1.01 ms."""
    found = front(at(1, 0.9944, 1.00), at(2, 0.9972, 1.01))
    first, anew = (at(1, 0.9944, ms).measured[HERE].latency for ms in (1.00, 1.50))
    looked = found.with_confirmed({1: Confirmed({HERE: first}, None, {HERE: anew})})
    assert found.indistinct == {2} and looked.indistinct == frozenset()
    said, later = ("\n".join(choice_lines(each.pick())) for each in (found, looked))
    assert "cannot be told apart" in said and "cannot be told apart" not in later


@settings(suppress_health_check=[HealthCheck.filter_too_much])
@given(fronts(), asked_limits, st.integers(10, 1000))
def test_a_model_that_is_named_meets_the_limits_where_pick_would_take_it(
    found: Front, asked: Asked, examples: int
) -> None:
    limits, intervals = found.limits.changed(*asked), MetricIntervals(ACCURACY, {"validation": examples})
    assume(limits.any)
    asking = replace(found, limits=limits, intervals=intervals)
    fitting = {entry.number for entry in asking.fitting}
    for entry in asking.entries:
        expected = "it meets" if entry.number in fitting else "it does not meet"
        assert f"{expected} what the study asks" in choice_lines(asking.trial(entry.number))[-1]


def test_wherever_a_chosen_model_is_told_it_is_told_that_it_may_miss_its_budget() -> None:
    """Chosen at 0.98 ms under a budget of 1 ms, it took 1.05 ms, or again 0.98 ms, when it was measured anew."""
    found = _with_files(front(at(1, 0.9, 0.98), limits=Limits((HERE,), 1.0)))
    fast, slow = (replace(latency(ms, 1.01), ratio=ms / 10) for ms in (0.98, 1.05))
    for anew in (fast, slow):
        looked = found.with_confirmed({1: Confirmed({HERE: fast}, 0.88, {HERE: anew})})
        assert "it meets what the study asks" in choice_lines(looked.trial(1))[-1], "by what it is chosen by"
        for said in (
            verdict(looked),
            "\n".join(choice_lines(looked.pick())),
            "\n".join(choice_lines(looked.trial(1))),
            " ".join(answer(Record(looked, StudyFile(), TaskFacts())).same),
        ):
            assert ("may miss the budget" in said) == (anew is slow), said


def test_the_page_knows_which_models_miss_the_limit_on_the_metric() -> None:
    """One against the teacher is held against the figure, one on the metric itself against its interval's lower end."""
    found = front(at(1, 0.95, 1.0), at(2, 0.97, 2.0), limits=Limits((HERE,)))
    asked = found.limits.changed(min_accuracy=0.94)
    for limits, poor in ((found.limits, [0, 0]), (replace(found.limits, min_accuracy=0.95), [0, 0]), (asked, [1, 0])):
        assert trial_columns(Record(replace(found, limits=limits), StudyFile(), TaskFacts()))["poor"] == poor


def _with_files(found: Front) -> Front:
    import tempfile

    folder = Path(tempfile.mkdtemp())
    for trial in found.trials:
        (folder / "trials" / f"{trial.number:04d}").mkdir(parents=True)
        (folder / "trials" / f"{trial.number:04d}" / "model.onnx").write_bytes(b"")
    return replace(found, folder=folder)


def test_what_is_reported_of_a_chosen_model_had_no_say_in_the_choice() -> None:
    found = front(at(1, 0.9, 1.0))
    looked = found.with_confirmed({1: Confirmed({HERE: latency(0.9)}, 0.88, {HERE: latency(1.05)})})
    entry = looked.pick().entry
    assert entry.latency.p50_ms == 0.9 and entry.reported[HERE].p50_ms == 1.05
    assert any("measured anew after it was chosen: p50 1.050 ms" in line for line in choice_lines(looked.pick()))
    assert any("had a say in the choice" in line for line in choice_lines(found.pick()))


def test_a_disturbed_gate_stops_no_plan_by_a_hair() -> None:
    limits = Limits((HERE,), 1.0)
    over = replace(latency(1.2, 1.05), conditions={"disturbances": []})
    assert limits.surely_missed({HERE: over}, 1000)
    disturbed = replace(over, disturbed=True, conditions={"disturbances": ["waited 30% of the time for a core"]})
    assert not limits.surely_missed({HERE: disturbed}, 1000)
    assert limits.surely_missed({HERE: replace(disturbed, p50_ms=2.4, low_ms=2.3, high_ms=2.5)}, 1000)


def test_metrics_that_are_no_shares_have_an_interval_by_resampling(monkeypatch: pytest.MonkeyPatch) -> None:
    random = torch.Generator().manual_seed(0)
    outputs, labels = torch.randn(400, generator=random), torch.zeros(400)
    sd = standard_error(metric_of(rmse, "minimize"), outputs, labels)
    near = 1 / np.sqrt(2 * 400)  # of a standard deviation of normal values
    assert sd is not None and 0.7 < sd / near < 1.4
    monkeypatch.setattr("autocompress.search.evaluate.bootstrap.COPIED_BYTES", 4 * 50)
    few = standard_error(metric_of(rmse, "minimize"), outputs, labels)
    assert few is not None and few != sd and 0.7 < few / near < 1.4, "of resamples of 50"
    assert standard_error(metric_of(top1), torch.eye(3), torch.arange(3)) is None
    assert standard_error(metric_of(rmse, "minimize"), outputs, labels, seconds=0.0) is None
    around = MetricIntervals(MetricLabel("rmse", "minimize")).around(-1.0, "validation", sd)
    assert around.low is not None and around.high is not None and around.low < 1.0 < around.high
    own = MetricIntervals(ACCURACY, {"validation": 100}).around(0.9, "validation", 0.1)
    assert own.low is not None and 0.9 - own.low > 0.19, "of a user's own metric, whatever its name"


@pytest.mark.parametrize("count", [10, 200])
def test_a_score_without_any_mistake_is_not_sure_for_that(count: int) -> None:
    """Resamples of examples that are all right say the same, however few there are."""
    labels = (torch.arange(count * 3).view(count, 3) % 2).float()
    metric = metric_of(micro_f1)
    sd = standard_error(metric, labels - 0.5, labels)
    perfect = MetricIntervals(metric.label).around(1.0, "validation", sd)
    share = MetricIntervals(ACCURACY, {"validation": count}).around(1.0, "validation")
    assert perfect.low == pytest.approx(share.low) and share.low is not None and share.low < 1
    exact = standard_error(metric_of(rmse, "minimize"), labels, labels)
    assert exact == 0, "of what has no best score but that, nothing is known"


@pytest.mark.parametrize(("share", "known"), [(True, True), (False, False), (None, True)])
def test_a_users_function_named_accuracy_has_no_interval_of_a_share(share: bool | None, known: bool) -> None:
    """Balanced accuracy, for one. Studies that did not keep whose function it is go on as before."""
    found = MetricIntervals.of_share(TaskFacts(kind="classification", share=share), {"test": 400})
    assert (found.around(0.9, "test").low is not None) == known
    around = found.around(0.9, "validation", 0.1)
    assert around.low is not None and 0.9 - around.low > 0.19, "resampling tells that of validation either way"


def test_a_speed_up_is_the_measured_ratio_and_that_of_the_target_that_a_model_is_for() -> None:
    """Where plans choose their target, the teacher on the first one says nothing of a model on another."""
    found = finished_trial(2, 0.9, replace(latency(1.0), ratio=0.5, ratio_low=0.45, ratio_high=0.55))
    fast = replace(found, measured={"fast": found.measured[HERE]}, spec=StudentSpec(target="fast"))
    teacher = replace(at(1, 0.95, 20.0, ratio=1.0), origin=Origin.TEACHER)
    chosen = _with_files(replace(front(teacher, fast, limits=Limits((HERE, "fast"))), any_of=True))
    (row,) = (row for row in rows(chosen) if row[1] == "2")
    assert "2.00 x" in row and "20.00 x" not in row
    assert speed_up(chosen.entries[0].reported_latency) == Interval(2.0, 1 / 0.55, 1 / 0.45)


def test_one_model_has_one_figure_everywhere_and_its_marks_are_of_that_figure() -> None:
    """Chosen at 0.98 ms under a budget of 1 ms, it took 1.05 ms when it was measured anew."""
    exact = replace(latency(0.98, 1.01), ratio=0.098)
    anew = replace(latency(1.05, 1.01), ratio=0.105, disturbed=True)
    found = _with_files(front(at(1, 0.9, 0.98), limits=Limits((HERE,), 1.0)))
    looked = found.with_confirmed({1: Confirmed({HERE: exact}, 0.88, {HERE: anew})})
    (row,) = rows(looked)
    assert "1.050" in row and row[0] == "* " and "!" in row[6] and "(disturbed)" in row[2]
    assert looked.to_pandas()["p50_ms"].tolist() == [1.05]
    assert "p50 1.050 ms" in line(looked.entries[0]) and points_of(looked)[0].ms == 1.05
    column = latency_columns(Record(looked, StudyFile(), TaskFacts()))[HERE]
    assert column["p50"] == [1.05] and column["chosenBy"] == [0.98], "the page chooses as `pick` does"
    assert column["held"][0] < 1


def test_the_noise_that_resampling_told_is_shown_everywhere() -> None:
    (file,) = at(1, 0.9, 1.0).measured.values()
    noisy = replace(at(1, 0.9, 1.0), measured={HERE: replace(file, accuracy_sd=0.1)})
    found = front(noisy, examples=100_000)
    record = Record(found, StudyFile(), TaskFacts(kind="classification"), identity={"validation": "100000 images"})
    columns = trial_columns(record)
    assert record.knows_noise and columns["metricLow"][0] < 0.71 and columns["metricHigh"][0] > 1.09
    (point,) = contender_of(record, "study").points
    assert abs(point.metric_half - 0.196) < 1e-3


def test_a_slower_model_is_not_within_an_interval_that_the_calibration_has_widened() -> None:
    """2.3 and 2.0 ms, both known to 16 % for the same calibration, and their ratios to 1 %."""

    def entry(number: int, ms: float) -> Entry:
        known = replace(latency(ms, 1.16), ratio=ms / 10, ratio_low=ms / 10.1, ratio_high=ms / 9.9)
        return Entry(finished_trial(number, 0.9, known), None)

    assert not no_slower(entry(1, 2.3), entry(2, 2.0)) and no_slower(entry(2, 2.0), entry(1, 2.3))
    assert no_slower(entry(1, 2.01), entry(2, 2.0)), "within noise"
