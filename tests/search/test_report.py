"""The report's values: what it says of a study, from its folder alone."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from simulated_study import EXAMPLES, TARGET, simulated_trials, write_study
from synthetic_spaces import chain

from autocompress.cli import main
from autocompress.errors import StorageError, UsageError
from autocompress.search.feasibility import Limits
from autocompress.search.report.front import Front
from autocompress.search.report.html import keep
from autocompress.search.report.html.answer import Answer, answer
from autocompress.search.report.html.build import FILE, report_text
from autocompress.search.report.html.forest import grow
from autocompress.search.report.html.points import trial_columns
from autocompress.search.report.html.predictions import read_predictions
from autocompress.search.report.html.record import Record, read_record
from autocompress.search.report.html.render import render
from autocompress.search.report.policy import choose
from autocompress.search.store.facts import TaskFacts
from autocompress.search.store.settings import write_settings
from autocompress.search.trial import Trial
from autocompress.spaces.surrogates import Surrogates
from autocompress.studies.metric import MetricLabel
from autocompress.studies.study_file import StudyFile

EVIL = '<script>alert("x")</script>'


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "simulated"
    write_study(folder, 60, budget_ms=2.0)
    return folder


def data_of(page: str) -> dict[str, object]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    kept: dict[str, object] = json.loads(found[1])
    return kept


class Words(HTMLParser):
    """The texts of a page outside of scripts and styles, and the names of its elements."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.names: list[str] = []
        self.links: list[str] = []
        self._quiet = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        self._quiet = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._quiet = False

    def handle_data(self, data: str) -> None:
        if not self._quiet:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def test_the_answer_is_what_the_front_says_is_best_with_the_command_that_ships_it(study: Path) -> None:
    record = read_record(study)
    best = record.front.fitting[0]
    text = Words(report_text(record)).text
    assert f"Take trial {best.number} ({best.trial.label})" in text
    assert f"autocompress pick {study} --trial {best.number} --out deploy" in text
    assert f"{record.metric.name} {best.metric_text} (" in text
    assert data_of(report_text(record))["answer"] == best.number


def test_what_cannot_be_told_apart_from_the_answer_is_named(study: Path) -> None:
    record = read_record(study)
    best = record.front.fitting[0]

    def like(number: int, worse: float, faster: float) -> Trial:
        file = best.trial.measured[TARGET]
        scaled = {name: getattr(file.latency, name) / faster for name in ("p50_ms", "low_ms", "high_ms")}
        scaled |= {name: getattr(file.latency, name) / faster for name in ("ratio", "ratio_low", "ratio_high")}
        changed = replace(file, accuracy=file.accuracy - worse, latency=replace(file.latency, **scaled))
        return replace(best.trial, number=number, measured={TARGET: changed})

    def answered(*others: Trial) -> Answer:
        trials = tuple(t for t in record.front.trials if not t.finished or t.number == best.number) + others
        return answer(replace(record, front=replace(record.front, trials=trials)))

    others = (like(901, 0.001, 1.0), like(903, 0.1, 1.0), like(904, 0.001, 0.8))
    said = " ".join(answered(*others).same)
    assert "nor its latency can be told apart from trial 901" in said
    assert "903" not in said and "904" not in said
    assert answered(*others).number == best.number
    assert answered(*others, like(902, 0.001, 1.5)).number == 902, "as good as can be told, and faster"


def test_without_a_limit_the_knee_and_three_others_are_offered(study: Path) -> None:
    record = read_record(study)
    record = replace(record, front=replace(record.front, limits=Limits((TARGET,))))
    said = answer(record)
    knee = choose(record.front, "knee")
    assert knee is not None and said.number == knee.number
    titles = "; ".join(other.title for other in said.others).lower()
    assert all(word in titles for word in ("fastest within 1 %", "highest accuracy", "smallest within 1 %"))


def test_limits_that_nothing_meets_are_explained(study: Path) -> None:
    record = read_record(study)
    limits = replace(record.front.limits, budget_ms=1e-4)
    said = answer(replace(record, front=replace(record.front, limits=limits)))
    assert said.choice is None
    assert "no model meets the constraints" in said.missing


def test_the_page_asks_nothing_of_a_network(study: Path) -> None:
    page = report_text(read_record(study))
    links = Words(page).links
    assert links and all(link.startswith("#") or link == "data:," for link in links)
    assert "default-src 'none'" in page
    assert not re.search(r"\bfetch\(|XMLHttpRequest|https?://(?!www\.w3\.org)", page)


def test_what_a_user_wrote_shows_as_text(tmp_path: Path) -> None:
    folder = tmp_path / "<b>bold<"
    write_study(folder, 12, metric=MetricLabel(EVIL), labels={2: EVIL, 5: "</script><img src=x onerror=alert(1)>"})
    record = read_record(folder)
    record = replace(record, facts=replace(record.facts, versions={EVIL: EVIL}, kind=EVIL))
    page = report_text(record)
    words = Words(page)
    assert EVIL not in page and "</script><img" not in page
    assert "img" not in words.names and "b" not in words.names
    assert EVIL in words.text and "<b>bold<" in words.text
    assert EVIL in json.dumps(data_of(page)["trials"]).replace('\\"', '"')


@given(st.text())
def test_any_text_comes_back_out_of_the_page(text: str) -> None:
    values = {"title": text, "written": "", "names": [text], "metric": MetricLabel("m"), "records": ()}
    comparison = {"sentences": (text,), "warnings": (), "volumes": (), "dominance": ()}
    page = render("compare.html", {**values, "comparison": comparison}, {"text": text})
    assert data_of(page) == {"text": text}


def test_a_metric_that_is_minimized_is_shown_in_its_own_units(tmp_path: Path) -> None:
    write_study(tmp_path / "study", 40, metric=MetricLabel("perplexity", "minimize"))
    record = read_record(tmp_path / "study")
    text = Words(report_text(record)).text
    assert "perplexity (lower is better)" in text and "lowest perplexity" in text.lower()
    assert "No interval is known for perplexity" in text
    assert min(v for v in trial_columns(record)["metric"] if v is not None) > 0


def test_nothing_but_the_folder_is_needed_and_older_ones_can_be_read(study: Path, tmp_path: Path) -> None:
    folder = tmp_path / "older"
    shutil.copytree(study, folder)
    for name in ("surrogates.json", "space.json", "identity.json", "task.json"):
        (folder / name).unlink()
    shutil.rmtree(folder / "targets")
    text = Words(report_text(read_record(folder))).text
    assert "The versions of libraries were not kept" in text
    assert "Take trial" in text


def test_a_study_that_has_just_begun_has_a_report(tmp_path: Path) -> None:
    write_settings(tmp_path, StudyFile())
    record = Record(Front(tmp_path, ("accuracy", "latency_ms"), (), {}, Limits((TARGET,))), StudyFile(), TaskFacts())
    assert "no model is finished yet" in Words(report_text(record, reload=True)).text


@given(st.floats(0, 1), st.integers(1, 10**6))
def test_an_interval_of_a_share_holds_it_and_lies_between_0_and_1(value: float, count: int) -> None:
    front = Front(Path("study"), ("accuracy",), (), {}, Limits((TARGET,)))
    record = Record(front, StudyFile(), TaskFacts(), identity={"validation": f"{count} items, 0"})
    interval = record.metric_interval(value)
    assert interval is not None
    assert -1e-12 <= interval[0] <= value <= interval[1] <= 1 + 1e-12


def test_the_forest_finds_the_decisions_that_matter(study: Path) -> None:
    record = read_record(study)
    space = chain([32, 48] * 5 + [64, 10])
    trials = simulated_trials(space, 400)
    front = replace(record.front, trials=tuple(trials))
    forest = grow(front.entries, record.space["variables"])
    assert forest is not None and forest.explained("metric") > 0.5
    found = forest.importance("latency")
    assert sum(found.variables.values()) == pytest.approx(1)
    assert sum(found.axes.values()) == pytest.approx(1)
    assert found.axes["recovery"] < 0.1 < found.axes["channels"], "teaching does not change latency"
    plans = [entry.trial.plan.choices for entry in front.entries[:5]]
    for plan, costs in zip(plans, forest.costs(plans), strict=True):
        assert set(costs) <= set(plan)


def test_too_few_models_tell_nothing(study: Path) -> None:
    record = read_record(study)
    assert grow(record.front.entries[:5], record.space["variables"]) is None


def test_predictions_of_layers_follow_the_latency(study: Path) -> None:
    kept = read_predictions(study).layer_ms[TARGET]
    record = read_record(study)
    assert len(kept["0"]) == len(record.space["layers"])
    fastest, slowest = record.front.entries[0], record.front.entries[-1]
    assert sum(kept[str(fastest.number)]) < sum(kept[str(slowest.number)])


def test_a_running_search_writes_a_report_that_loads_itself_again_and_a_final_one(study: Path) -> None:
    said: list[str] = []
    keeper = keep.ReportKeeper(study, Surrogates(), ("cpu",), said.append)
    front = read_record(study).front
    page = study / FILE
    keeper.keep(replace(front, trials=front.trials[:30]))
    assert data_of(page.read_text())["reload"]
    before = page.read_bytes()
    keeper.keep(front)
    assert page.read_bytes() == before, "a moment later nothing is written"
    keeper.keep(front, final=True)
    assert data_of(page.read_text())["reload"] is None
    assert not said


def test_a_report_that_fails_is_said_once_and_ends_nothing(
    study: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*_args: object, **_more: object) -> None:
        raise StorageError(f"{tmp_path}: the disk is full")

    monkeypatch.setattr(keep, "write_report", full)
    said: list[str] = []
    keeper = keep.ReportKeeper(study, Surrogates(), ("cpu",), said.append)
    front = read_record(study).front
    keeper.keep(front, final=True)
    keeper.keep(front, final=True)
    assert len(said) == 1 and "the disk is full" in said[0] and "\n" not in said[0]


def test_many_trials_stay_small(study: Path) -> None:
    record = read_record(study)
    space = chain([32, 48] * 5 + [64, 10])
    trials = simulated_trials(space, 1500)
    page = report_text(replace(record, front=replace(record.front, trials=tuple(trials))))
    assert len(page) < 1.5e6
    assert len(data_of(page)["trials"]["number"]) == 1500  # type: ignore[index,call-overload]
    assert len(report_text(record)) < 3e5


def test_the_command_writes_the_report_into_the_study(study: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["report", str(study)])
    assert done.exit_code == 0, done.output
    assert (study / FILE).stat().st_size > 10_000
    done = CliRunner().invoke(main, ["report", str(tmp_path)])
    assert done.exit_code == 2


def test_examples_are_those_that_the_study_knows_its_data_by(study: Path) -> None:
    assert read_record(study).examples["validation"] == EXAMPLES


def test_a_file_in_place_of_a_study_is_told_in_one_line(tmp_path: Path) -> None:
    from autocompress.search.store.layout import find_study_folder

    (tmp_path / "report.html").write_text("a page")
    with pytest.raises(UsageError, match="is a file; give the folder"):
        find_study_folder(tmp_path / "report.html")
    assert find_study_folder(tmp_path) == tmp_path


def test_the_page_leaves_out_what_the_front_does(study: Path) -> None:
    """A model whose file was changed, or whose figures are still those of another machine."""
    record = read_record(study)
    number = record.front.best[-1].number
    without = trial_columns(replace(record, front=record.front.without({number: "its file is another one"})))
    row = without["number"].index(number)
    assert (without["state"][row], without["reason"][row]) == ("left out", "its file is another one")
    assert without["metric"][row] is None and not without["front"][row] and not without["fits"][row]
