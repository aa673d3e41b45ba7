"""What a search will take, told before its first trial, and a search that ends within its minutes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocompress.compression.schedule import Schedule
from autocompress.errors import MeasurementError
from autocompress.search import told
from autocompress.search.prepare.forecast import Forecast, forecast

if TYPE_CHECKING:
    from autocompress.search.executors.base import ExecutorContext

pytestmark = pytest.mark.usefixtures("briefly")

Said = tuple[int, str, str]
SCHEDULE = Schedule(2.0, (0.5, 1.0), 64)
QUICK = "[target]\nprofile_seconds = 0\nlearn_seconds = 0\nprecision = 0.5\n"

seconds = st.floats(0.001, 1e5)


@given(seconds, seconds, seconds, st.floats(0, 1e6), st.integers(1, 16))
def test_as_many_students_as_fit(
    training: float, building: float, measuring: float, left_s: float, workers: int
) -> None:
    told = Forecast(SCHEDULE, 35, training, building, measuring)
    count = told.students(left_s, workers)
    each_s = training + building + measuring
    assert count * each_s <= left_s * workers * (1 + 1e-9) < (count + 1) * each_s * (1 + 1e-9)
    assert all("\n" not in line for line in told.lines(left_s, None, workers))


def test_what_is_slow_is_named() -> None:
    def lines(**changed: float) -> str:
        values = {"training_s": 10.0, "building_s": 1.0, "measuring_s": 1.0, "reading_share": 0.1}
        return "\n".join(Forecast(SCHEDULE, 35, **{**values, **changed}).lines(600))

    assert "slow" not in lines() and "careful" not in lines()
    assert "80% of each step is reading its batch" in lines(reading_share=0.8)
    assert "exporting" in lines(building_s=30.0) and "measuring and scoring" in lines(measuring_s=40.0)
    assert "careful" in lines(training_s=400.0)


def test_trials_that_were_asked_for_are_told_in_time() -> None:
    assert "20 trials take 4.0 min at most" in "\n".join(Forecast(SCHEDULE, 35, 10, 1, 1).lines(None, 20))


def test_a_forecast_is_of_real_steps_and_files(opened_context: ExecutorContext) -> None:
    context = opened_context.context
    before = {name: value.clone() for name, value in context.task.teacher.state_dict().items()}
    told = forecast(context, [])
    assert told.steps == context.recoverer.schedule.steps(context.recoverer.data)
    assert told.training_s > 0 and told.building_s > 0 and told.measuring_s > 0 and 0 <= told.reading_share <= 1
    after = context.task.teacher.state_dict()
    assert all((after[name] == value).all() for name, value in before.items()), "the teacher was trained"


@pytest.mark.parametrize("failure", [MeasurementError("was killed"), RuntimeError("out of memory")])
def test_a_forecast_that_cannot_be_costs_no_search_its_begin(
    opened_context: ExecutorContext, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    """A student of the teacher's size may need memory that smaller ones do not."""

    def forecast(*arguments: Any) -> Forecast:
        raise failure

    monkeypatch.setattr(told, "forecast", forecast)
    context = SimpleNamespace(recovery=None)
    store = SimpleNamespace(ended=list)
    study: Any = SimpleNamespace(
        settings=opened_context.settings,
        context=opened_context.context,
        space=SimpleNamespace(context=context),
        store=store,
    )
    said: list[str] = []
    told.tell_forecast(study, None, said.append)
    (line,) = said
    assert line.startswith("no forecast: ") and str(failure) in line


@pytest.mark.slow
def test_a_dry_run_tells_and_tries_nothing(cli: Callable[..., Said], tiny_task: Path, tmp_path: Path) -> None:
    study = tmp_path / "dry.toml"
    study.write_text(f'name = "dry"\n[task]\nfrom = "{tiny_task}"\n{QUICK}[recovery]\nrungs = [0.25, 1.0]\n')
    code, out, _ = cli("search", study, "--minutes", 5, "--dry-run", "--quiet", "--runs", tmp_path)
    assert code == 0
    assert "forecast: a student" in out and "steps of" in out and "epochs" in out, "with what it follows from"
    assert "enough for about" in out and "25%" in out
    assert "nothing was searched" in out and not list((tmp_path / "dry" / "trials").glob("*"))
    code, out, _ = cli("search", study, "--trials", 3, "--dry-run", "--quiet", "--runs", tmp_path)
    assert code == 0 and "3 trials take" in out


@pytest.mark.slow
def test_a_confirmation_without_time_is_left_to_the_next_run(
    cli: Callable[..., Said], tiny_task: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from autocompress.errors import MetricError
    from autocompress.search.pace import Stop
    from autocompress.search.report import confirm as confirming
    from autocompress.search.report.confirm import confirm, is_open
    from autocompress.search.report.looks import read_looks, write_looks
    from autocompress.search.report.reading import read_front
    from autocompress.search.study import opened
    from autocompress.studies.study_file import load_study

    study = tmp_path / "late.toml"
    study.write_text(
        f'name = "late"\n[task]\nfrom = "{tiny_task}"\n{QUICK}[search]\nwithout = ["sensitivity", "latency_model"]\n'
    )
    assert cli("search", study, "--trials", 2, "--quiet", "--runs", tmp_path)[0] == 0
    (tmp_path / "late" / "confirmed.json").unlink()
    said: list[str] = []
    with opened(load_study(study), None, tmp_path, stop=Stop()) as open_study:
        front = read_front(open_study.folder)
        assert not front.confirmed
        late = confirm(open_study.context, front, said.append, time.monotonic() - 1)
        assert not late.confirmed and "no time was left to confirm 2 of 2 models" in said[-1]
        done = confirm(open_study.context, late, said.append)
        assert set(done.confirmed) == {entry.number for entry in done.entries}

        # what was seen in fewer processes than usual (here: one) is no confirmation for good
        looks = read_looks(open_study.folder)
        thin = {n: replace(f, latency=replace(f.latency, processes=0)) for n, f in looks[1].files.items()}
        write_looks(open_study.folder, {**looks, 1: replace(looks[1], files=thin)})
        again = confirm(open_study.context, read_front(open_study.folder), said.append)
        assert not any(is_open(entry) for entry in again.entries)
        assert again.confirmed[2] == done.confirmed[2], "the other is not measured again"

        # a metric that is not defined on the test split costs the test score, not the long measurement
        (open_study.folder / "confirmed.json").unlink()

        def undefined(*args: Any) -> float:
            raise MetricError("undefined")

        monkeypatch.setattr(confirming, "file_accuracy", undefined)
        unscored = confirm(open_study.context, read_front(open_study.folder), said.append)
        assert all(entry.confirmed and entry.test_text == "" for entry in unscored.entries)
        assert any("trial 1 has no test score: undefined" in line for line in said)
        assert read_front(open_study.folder).to_pandas()["test_accuracy"].isna().all()


@pytest.mark.slow
def test_minutes_that_end_while_the_study_is_opened_are_told(
    cli: Callable[..., Said], tiny_task: Path, tmp_path: Path
) -> None:
    study = tmp_path / "short.toml"
    study.write_text(f'name = "short"\n[task]\nfrom = "{tiny_task}"\n[target]\nprofile_seconds = 0\nprecision = 0.5\n')
    code, out, _ = cli("search", study, "--minutes", 0.01, "--quiet", "--runs", tmp_path)
    assert code == 0 and "nothing could be tried" in out and "more --minutes" in out
