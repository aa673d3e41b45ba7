"""What tables, choices and reports say in words and figures is what was measured, and what would really do."""

from __future__ import annotations

import ast
import inspect
import io
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from simulated_study import write_study
from test_front import HERE, finished_trial, latency
from test_policy import FRONT, on

import autocompress
from autocompress.cli import main
from autocompress.cli.fit import print_table
from autocompress.errors import BudgetError
from autocompress.evaluators.measurement import Latency, ms_text, plain_figure
from autocompress.search.feasibility import Limits
from autocompress.search.report import table
from autocompress.search.report.choice import choice_lines
from autocompress.search.report.entry import Confirmed, Entry
from autocompress.search.report.front import Front
from autocompress.search.report.html.answer import Answer, answer
from autocompress.search.report.html.build import report_text
from autocompress.search.report.html.points import study_values
from autocompress.search.report.html.record import Record, read_record
from autocompress.search.report.html.wording import milliseconds, short
from autocompress.search.report.intervals import Interval, MetricIntervals
from autocompress.search.report.lines import best_line
from autocompress.search.report.picked import line
from autocompress.search.report.plot import plot
from autocompress.search.report.reading import read_front
from autocompress.search.report.standing import Standing
from autocompress.search.report.technique_table import cells
from autocompress.search.report.techniques import Against, Row, command
from autocompress.search.store.facts import TaskFacts
from autocompress.search.store.layout import find_study_folder
from autocompress.search.trial import Origin, Trial, TrialState
from autocompress.studies.metric import ACCURACY, MetricLabel, rounded
from autocompress.studies.study_file import StudyFile


def of_teacher(ms: float, teacher_ms: float, wide: float = 1.2) -> Latency:
    """A latency whose ratio to the teacher's is surer than its milliseconds."""
    ratio = ms / teacher_ms
    return replace(latency(ms, wide), ratio=ratio, ratio_low=ratio / 1.01, ratio_high=ratio * 1.01)


def front_of(*trials: Trial, limits: Limits, examples: int = 0) -> Front:
    intervals = MetricIntervals(ACCURACY, {"validation": examples} if examples else {})
    teacher = replace(finished_trial(1, 0.9, of_teacher(10.0, 10.0)), origin=Origin.TEACHER)
    return Front(Path("study"), ("accuracy", "latency_ms"), (teacher, *trials), {}, limits, intervals=intervals)


def test_a_study_in_which_one_stands_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports, cards and model repositories are named after it: "." would name none, ".." the folder above."""
    study = tmp_path / "runs" / "mine"
    write_study(study, 4)
    for place, given_ in ((study, "."), (study / "targets", "..")):
        monkeypatch.chdir(place)
        assert find_study_folder(Path(given_)).name == "mine"
        done = CliRunner().invoke(main, ["front", given_])
        assert done.exit_code == 0 and done.output.startswith("mine: ")


def test_short_latencies_are_told_apart() -> None:
    slow, fast = finished_trial(2, 0.9, latency(0.0044, 1.02)), finished_trial(3, 0.9, latency(0.0036, 1.02))
    found = front_of(slow, fast, limits=Limits((HERE,), 0.004))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table, "_near", lambda *_: "model.onnx")
        shown = {row[1]: row for row in table.rows(found)}
    heads = table.heads(found)
    p50, ends = heads.index("p50 ms"), heads.index("95 % interval")
    assert shown["3"][p50] == "0.00360" and shown["3"][ends] == "0.00353 to 0.00367"
    assert "p50 0.00360 ms (0.00353 to 0.00367)" in line(found.fitting[0])
    assert found.explain(Limits((HERE,), 0.003)).count("0.003") >= 2
    assert milliseconds(0.0036) == "0.00360" and milliseconds(12.3456) == "12.346" and milliseconds(4321.5) == "4321.5"


@given(st.floats(1e-9, 1e7))
def test_figures_hold_three_digits_and_no_powers_of_ten(value: float) -> None:
    for text in (ms_text(value), plain_figure(value), plain_figure(value, 4)):
        assert "e+" not in text
        assert float(text) == pytest.approx(value, rel=6e-3)
    up = rounded(value, 12, up=True)
    assert "E" not in up and float(up) >= value


def test_a_part_of_the_teachers_latency_that_is_said_to_do_really_does() -> None:
    """In milliseconds the interval is wider: as a budget in milliseconds, the same figure would not do."""
    limits = Limits((HERE,), on={HERE: 5.0}, relative={HERE: 0.5})
    found = front_of(finished_trial(2, 0.88, of_teacher(5.5, 10.0)), limits=limits)
    assert not found.fitting
    said = re.search(r"relaxing one would do: p50 latency ([\d.]+) % of the teacher's", found.explain(limits))
    assert said is not None and found.pick(speedup=100 / float(said[1])).entry.number == 2
    assert "upper end 55.55 % of the teacher's at p50" in found.explain(limits)
    assert not found.under(limits.changed(float(said[1]) / 10))


def test_a_metric_that_is_said_to_do_really_does_where_the_limit_is_against_the_teacher() -> None:
    limits = Limits((HERE,), 6.0, min_accuracy=0.89)
    found = front_of(finished_trial(2, 0.88, latency(5.0, 1.01)), limits=limits, examples=1000)
    said = re.search(r"would do: .*accuracy ([\d.]+)", text := found.explain(limits))
    assert said is not None and found.under(limits.changed(min_accuracy=float(said[1]))), text
    assert "interval begins" not in text, "the figure itself is held against a limit against the teacher"


def test_the_legend_says_what_a_part_of_the_teachers_latency_is_held_against() -> None:
    part = Limits((HERE,), on={HERE: 5.0}, relative={HERE: 0.5})
    model = finished_trial(2, 0.88, of_teacher(4.8, 10.0))
    assert model.measured[HERE].latency.high_ms > 5.0
    found = front_of(model, limits=part)
    assert [e.number for e in found.fitting] == [2], "its interval in milliseconds goes beyond the budget"
    assert "upper end of its ratio to the teacher's" in table.legend(found)
    tail = replace(found, limits=replace(part, percentile=95))
    assert "upper end of the ratio of its p95 to the teacher's median" in table.legend(tail)
    assert "upper end of the interval" in table.legend(front_of(model, limits=Limits((HERE,), 5.0)))


def answered(*trials: Trial, limits: Limits, any_of: bool = False) -> Answer:
    front = Front(Path("study"), ("accuracy", "latency_ms"), trials, {}, limits, any_of)
    return answer(Record(front, StudyFile(), TaskFacts(), identity={"validation": "10000 items"}))


def test_models_for_different_targets_are_told_apart_by_their_milliseconds() -> None:
    fast, slow = on(HERE, 2, 0.9, 2.0), on("openvino", 3, 0.9, 12.0)
    said = answered(fast, slow, limits=Limits((HERE, "openvino"), 20.0), any_of=True)
    assert said.number == 2 and "told apart" not in " ".join(said.same)


def test_what_is_better_and_not_surely_slower_than_the_knee_is_named() -> None:
    def at(number: int, accuracy: float, ms: float) -> Trial:
        wide = {"ratio": ms / 10, "ratio_low": 0.7 * ms / 10, "ratio_high": 1.3 * ms / 10}
        return finished_trial(number, accuracy, replace(latency(ms), **wide))

    teacher = replace(at(1, 0.96, 10.0), origin=Origin.TEACHER)
    said = answered(teacher, at(2, 0.1, 0.5), at(3, 0.90, 1.0), at(4, 0.93, 1.25), limits=Limits((HERE,)))
    assert said.number == 3
    words = " ".join(said.same)
    assert "trial 4 (1.250 ms) is better beyond noise" in words and "No other model" not in words
    alone = answered(teacher, at(2, 0.1, 0.5), at(3, 0.90, 1.0), limits=Limits((HERE,)))
    assert "No other model is as good" in " ".join(alone.same), "no limit was asked for"


def test_the_fastest_is_said_to_be_as_good_as_the_teacher_only_where_it_must_be() -> None:
    asked, unasked = FRONT.pick(min_accuracy=0.5, policy="fastest"), FRONT.pick(policy="fastest")
    assert asked.entry.number == 5 and unasked.entry.number == 3
    assert "as good as the teacher" not in "\n".join(choice_lines(asked))
    assert "as good as the teacher" in "\n".join(choice_lines(unasked))
    alone = answered(finished_trial(2, 0.9, latency(2.0)), finished_trial(3, 0.4, latency(1.0)), limits=Limits((HERE,)))
    assert "teacher" not in " ".join(other.title for other in alone.others), "none was measured"


def test_what_is_no_number_stands_as_nothing_in_the_page() -> None:
    assert short(math.nan) is None and short(math.inf) is None and short(2.0) == 2


def test_a_study_whose_trials_all_ended_early_says_of_what() -> None:
    """More time would not help where every training fails."""
    failed = replace(finished_trial(1, 0.9, latency(1.0)), state=TrialState.FAILED, measured={}, reason="out of memory")
    gated = replace(failed, number=2, state=TrialState.GATED, reason="9 ms or more, over the budget of 5 ms")
    found = Front(Path("study"), ("accuracy", "latency_ms"), (failed, replace(failed, number=3), gated), {}, Limits())
    for said in (table.verdict(found), answer(Record(found, StudyFile(), TaskFacts())).missing):
        assert "2 failed (the last, trial 3: out of memory)" in said and "1 stopped at the gate" in said
        assert "more time" not in said
    with pytest.raises(BudgetError, match="out of memory"):
        found.pick()
    lost = replace(found, trials=(finished_trial(1, 0.9, latency(1.0)),), changed={1: "its file is gone"})
    assert table.verdict(lost) == "no model is left to choose from: its file is gone"


def test_the_best_so_far_meets_every_limit_as_it_does_in_the_end() -> None:
    large, small = finished_trial(2, 0.9, latency(1.0), 3_000_000), finished_trial(3, 0.8, latency(1.0), 900_000)
    said = best_line((large, small), Limits((HERE,), 5.0, max_mb=1.0))
    assert said.startswith("trial 3 under p50 budget 5 ms, at most 1 MB")
    assert best_line((large,), Limits((HERE,), 5.0, max_mb=1.0)).startswith("none under")
    assert best_line((large, small), Limits((HERE,))).startswith("trial 2: ")


def test_differences_of_small_metrics_have_their_digits() -> None:
    small = MetricLabel("error", "minimize")
    entry = Entry(finished_trial(2, -1.5e-5, latency(1.0)), None, small)
    beside = Against(entry, Interval(1.5e-5), Interval(-2.1e-6), "test")
    row = Row("pruning", entry=entry, metric=Interval(1.71e-5), p50_ms=Interval(1.0), speed_up=Interval(2.0))
    row = replace(row, against=beside)
    assert cells(row, small)[-1] == ("0.00001500, trial 2", "-0.00000210")


def test_layers_of_every_kind_have_the_channels_that_they_write() -> None:
    """A table of 30000 rows of 64 has 64, of which a narrower student keeps some; four gates of an LSTM write one."""
    shapes = {
        "embedding": [30_000, 64],
        "linear": [128, 64],
        "conv": [32, 3, 3, 3],
        "lstm": [512, 64],
        "gru": [384, 64],
    }
    layers = [{"name": kind, "kind": kind, "weight": shape, "group": None} for kind, shape in shapes.items()]
    record = Record(front_of(limits=Limits((HERE,))), StudyFile(), TaskFacts(), space={"layers": layers})
    assert [layer["outputs"] for layer in study_values(record)["layers"]] == [64, 128, 32, 128, 128]


def test_a_picture_shows_a_budget_however_it_was_asked_for(tmp_path: Path) -> None:
    import matplotlib

    limits = Limits((HERE, "openvino"), on={HERE: 5.0, "openvino": 3.0}, relative={HERE: 0.5})
    found = front_of(finished_trial(2, 0.88, of_teacher(5.5, 10.0)), limits=limits)
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        plot(found, tmp_path / "front.svg")
    drawn = (tmp_path / "front.svg").read_text()
    assert "budget 5 ms" in drawn and "budget 3 ms" not in drawn, "latencies are those on the first target"


def test_a_study_that_stands_still_tells_the_latency_that_its_front_tells() -> None:
    found = front_of(finished_trial(2, 0.95, latency(2.0, 1.01)), limits=Limits((HERE,), 5.0))
    anew = Confirmed({HERE: latency(2.0, 1.01)}, 0.9, {HERE: latency(2.1, 1.01)})
    standing = Standing(found.with_confirmed({2: anew}), "", None)
    assert standing.as_plain()["best"]["p50_ms"] == 2.1
    assert any("p50 2.100 ms" in words for _, words in standing.lines())


def test_a_page_of_a_running_search_says_of_when_it_is(tmp_path: Path) -> None:
    """A search that was killed leaves such a page behind: nobody can say in it that the search runs now."""
    write_study(tmp_path / "mine", 4)
    record = read_record(tmp_path / "mine")
    assert "searching, as of 2" in report_text(record, reload=True) and "searching, as of" not in report_text(record)


def test_what_tries_missing_techniques_can_be_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A study that was searched from Python goes on from there: the call names where it lies."""
    study = tmp_path / "my runs" / "mine"
    write_study(study, 4)
    for place in (tmp_path, study, tmp_path / "my runs"):
        monkeypatch.chdir(place)
        call = ast.parse(command(read_front(study)), mode="eval").body
        assert isinstance(call, ast.Call) and ast.unparse(call.func) == "autocompress.compress"
        given_ = {str(each.arg): ast.literal_eval(each.value) for each in call.keywords}
        inspect.signature(autocompress.compress).bind(None, **given_)
        assert Path(given_["runs"]).resolve() == study.parent and given_["search"] == {"baselines": ("all",)}


@pytest.mark.parametrize("columns", [80, 100, 240])
def test_latencies_on_many_targets_are_left_out_before_they_are_cut(columns: int) -> None:
    names = (HERE, "openvino", "executorch", "litert", "pytorch")
    model = finished_trial(2, 0.88, of_teacher(1234.5, 2000.0))
    models = replace(model, measured=dict.fromkeys(names, model.measured[HERE]))
    objectives = ("accuracy", *(f"latency_ms@{name}" for name in names))
    found = Front(Path("study"), objectives, (models,), {}, Limits(names))
    console = Console(file=io.StringIO(), width=columns, highlight=False, markup=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table, "_near", lambda *_: "model.onnx")
        print_table(console, found, table.rich_table(found), plot=False)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert "…" not in said and "1234.500" in said
    assert ("left out for want of columns" in said) == (columns < 240)


def test_an_interval_begins_with_its_lower_end_also_where_lower_is_better() -> None:
    metric = MetricLabel("perplexity", "minimize")
    trial = finished_trial(2, -13.0, latency(2.0))
    measured = {HERE: replace(trial.measured[HERE], accuracy_sd=0.5)}
    front = Front(
        Path("study"), ("accuracy",), (replace(trial, measured=measured),), {}, Limits((HERE,), metric=metric)
    )
    said = answer(Record(front, StudyFile(), TaskFacts(metric=metric))).choice
    assert said is not None and (said.metric, said.metric_interval) == ("13.00", "12.02 to 13.98")
