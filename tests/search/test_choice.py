"""Choosing among many: intervals of the metric, ties, limits by the lower end, and what is reported of the chosen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from test_front import HERE, finished_trial, latency

from autocompress.search.evaluate.bootstrap import standard_error
from autocompress.search.feasibility import Limits
from autocompress.search.report.choice import choice_lines
from autocompress.search.report.entry import Confirmed
from autocompress.search.report.front import Front
from autocompress.search.report.intervals import MetricIntervals
from autocompress.search.report.table import legend, rows
from autocompress.search.trial import Trial
from autocompress.studies.metric import ACCURACY, MetricLabel, metric_of, rmse, top1


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
    assert "fastest model whose accuracy cannot be told from the best (0.9944 of trial 1)" in said


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


def test_the_winner_of_many_equal_models_does_not_flatter_once_it_is_measured_anew() -> None:
    """200 files of one truth: the fastest looks 8 % too fast, its second measurement does not."""
    random = np.random.default_rng(0)
    chosen, anew = [], []
    for _ in range(200):
        logs = random.normal(0, 0.03, 200)
        best = int(np.argmin(logs))
        chosen.append(logs[best])
        anew.append(random.normal(0, 0.03))
    assert np.mean(chosen) < -0.06 and abs(np.mean(anew)) < 0.01


def test_a_disturbed_gate_stops_no_plan_by_a_hair() -> None:
    limits = Limits((HERE,), 1.0)
    over = replace(latency(1.2, 1.05), conditions={"disturbances": []})
    assert limits.surely_missed({HERE: over}, 1000)
    disturbed = replace(over, disturbed=True, conditions={"disturbances": ["waited 30% of the time for a core"]})
    assert not limits.surely_missed({HERE: disturbed}, 1000)
    assert limits.surely_missed({HERE: replace(disturbed, p50_ms=2.4, low_ms=2.3, high_ms=2.5)}, 1000)


def test_metrics_that_are_no_shares_have_an_interval_by_resampling() -> None:
    random = torch.Generator().manual_seed(0)
    outputs, labels = torch.randn(400, generator=random), torch.zeros(400)
    sd = standard_error(metric_of(rmse, "minimize"), outputs, labels)
    assert sd is not None and 0.7 < sd / (1 / np.sqrt(2 * 400)) < 1.4, "of a standard deviation of normal values"
    assert standard_error(metric_of(top1), torch.eye(3), torch.arange(3)) is None
    assert standard_error(metric_of(rmse, "minimize"), outputs, labels, seconds=0.0) is None
    around = MetricIntervals(MetricLabel("rmse", "minimize")).around(-1.0, "validation", sd)
    assert around.low is not None and around.high is not None and around.low < 1.0 < around.high
