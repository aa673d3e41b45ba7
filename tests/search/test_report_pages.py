"""Pages of several studies, of odd ones and of one in other forms, in a real headless Chromium."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import simulated_study
from browser import find, missing, opened, show, slide, text
from click.testing import CliRunner
from simulated_study import write_study

from autocompress.cli import main
from autocompress.search.report.html.answer import pick_command
from autocompress.search.report.html.compare_page import compare_studies
from autocompress.search.report.html.points import study_values
from autocompress.search.report.html.record import Record, read_record
from autocompress.search.store.settings import read_settings, write_settings

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "a browser is there")
EVIL = '<img src="x" onerror="document.title = 1">'


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "simulated"
    write_study(folder, 60, budget_ms=2.0, labels={2: EVIL})
    return folder


@pytest.fixture(scope="module")
def record(study: Path) -> Record:
    return read_record(study)


def test_studies_are_laid_over_each_other_with_models_measured_elsewhere(
    chromium: Any, study: Path, tmp_path: Path
) -> None:
    write_study(tmp_path / "other", 50, seed=3, better=0.02)
    table = tmp_path / "theirs.csv"
    table.write_text(f"name,metric,latency_ms,size_bytes\n{EVIL},0.9,1.5,10000\nold,0.8,3,\n")
    chromium.get_log("browser")
    comparison = compare_studies([study, tmp_path / "other"], [table], tmp_path / "compare.html")
    show(chromium, tmp_path / "compare.html")
    keys = text(chromium, "#chart-legend")
    assert all(name in keys for name in ("simulated", "other", "theirs"))
    for style in ("study0", "study1", "study2"):
        assert find(chromium, f"#chart .{style} .point")
    assert comparison.sentences[0].startswith("other has the larger hypervolume")
    from selenium.webdriver.common.action_chains import ActionChains

    for style in ("study0", "study1"):
        point = find(chromium, f"#chart .{style} .point[data-row]")[0]
        chromium.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", point)
        ActionChains(chromium).move_to_element(point).click().perform()
    assert "of simulated" in text(chromium, "#pins") and "of other" in text(chromium, "#pins")
    assert not find(chromium, "img") and chromium.get_log("browser") == []


def test_what_was_measured_elsewhere_without_an_interval_is_compared_as_it_is(
    chromium: Any, study: Path, record: Record, tmp_path: Path
) -> None:
    """A second is not faster than a millisecond because nobody knows its interval, and no file smaller than none."""
    table = tmp_path / "theirs.csv"
    table.write_text("name,metric,latency_ms\nslow,0,1000\nslower,0,3000\n")
    compare_studies([study], [table], tmp_path / "compare.html")
    show(chromium, tmp_path / "compare.html")

    def compared(one: str, other: str) -> str:
        chromium.execute_script(f"location.hash = 'pins={one},{other}'")
        chromium.refresh()
        return text(chromium, "#measured-comparison")

    best = compared("1.1", f"0.{record.front.best[0].number}")
    assert "B is faster" in best and "A is" not in best and "smaller" not in best and "()" not in best
    assert "A is faster" in compared("1.1", "1.2")


def test_studies_on_different_targets_lie_in_one_chart(
    chromium: Any, study: Path, record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulated_study, "TARGET", "openvino")
    other = tmp_path / "elsewhere"
    write_study(other, 30, seed=3)
    write_settings(other, read_settings(other).changed("target", runtime="openvino"))
    comparison = compare_studies([study, other], [], tmp_path / "compare.html")
    assert "These studies have different targets." in comparison.warnings
    chromium.get_log("browser")
    show(chromium, tmp_path / "compare.html")
    for style in ("study0", "study1"):
        assert find(chromium, f"#chart .{style} .point")
    assert {"onnxruntime", "openvino"} <= {cell.text for cell in find(chromium, "#models tbody td")}
    here, there = record.front.best[0].number, read_record(other).front.best[-1].number
    chromium.execute_script(f"location.hash = 'pins=0.{here},1.{there}'")
    chromium.refresh()
    assert "ms on openvino A is faster" in text(chromium, "#measured-comparison")
    assert chromium.get_log("browser") == []


def test_models_for_one_of_several_targets_lie_on_one_front(chromium: Any, record: Record, tmp_path: Path) -> None:
    other, both = "openvino", ("onnxruntime", "openvino")
    trials = tuple(
        replace(t, measured={other: t.measured["onnxruntime"]}) if t.finished and t.number % 2 else t
        for t in record.front.trials
    )
    limits = replace(record.front.limits, targets=both)
    front = replace(record.front, trials=trials, limits=limits, any_of=True)
    opened(chromium, replace(record, front=front), tmp_path / "any.html")
    drawn = {int(point.get_attribute("data-row")) for point in find(chromium, "#chart .point[data-row]")}
    rows = {number: row for row, number in enumerate(sorted(t.number for t in trials))}
    assert {e.target for e in front.best} == set(both)
    assert {rows[e.number] for e in front.best} <= drawn
    heads = [head.text for head in find(chromium, "#models thead th")]
    column = heads.index("target") + 1
    chromium.find_element("id", "only-front").click()
    told = [cell.text for cell in find(chromium, f"#models tbody td:nth-child({column})")]
    assert set(told) == set(both) and "p50 ms on onnxruntime" not in " ".join(heads)
    slide(chromium, 400)
    budget = float(text(chromium, "#budget-text").split()[0])
    best = front.under(replace(limits, budget_ms=budget, on={}))[0]
    assert text(chromium, "#chosen") == f"trial {best.number}"
    assert chromium.get_log("browser") == []


def test_a_study_without_a_finished_model_has_a_report(chromium: Any, record: Record, tmp_path: Path) -> None:
    for trials in ((), tuple(t for t in record.front.trials if str(t.state) == "gated")):
        opened(chromium, replace(record, front=replace(record.front, trials=trials)), tmp_path / "none.html")
        assert "No model was measured yet" in text(chromium, "#chart")
        assert "No model is finished yet" in text(chromium, "#choice")
        assert not find(chromium, "#axis")[0].is_displayed()
        assert "was not scored yet" in text(chromium, "main")


def test_the_command_of_a_trial_holds_whatever_the_folder_is_called(record: Record) -> None:
    odd = replace(record, front=replace(record.front, folder=Path("/runs/{} --trial 0 --out deploy")))
    assert study_values(odd)["command"] + "7 --out deploy" == pick_command(odd, 7)


def test_one_trial_is_told_in_the_singular(chromium: Any, record: Record, tmp_path: Path) -> None:
    teacher = (record.front.trials[0],)
    opened(chromium, replace(record, front=replace(record.front, trials=teacher)), tmp_path / "one.html")
    said = text(chromium, "body")
    assert "1 model on the front of 1 trial" in said and "1 trial ended" in said and "1 models" not in said
    assert find(chromium, "#chart .point")


def test_zeros_on_a_logarithmic_axis_are_left_out_without_an_error(
    chromium: Any, record: Record, tmp_path: Path
) -> None:
    def with_energy(trial: Any) -> Any:
        if not trial.finished:
            return trial
        file = trial.measured["onnxruntime"]
        energy = 0.0 if trial.number % 3 == 0 or trial.number == record.front.best[0].number else 1.0 * trial.number
        look = replace(file.latency, energy_mj=energy)
        return replace(trial, measured={"onnxruntime": replace(file, latency=look)})

    front = replace(record.front, trials=tuple(map(with_energy, record.front.trials)))
    opened(chromium, replace(record, front=front), tmp_path / "zeros.html")
    from selenium.webdriver.support.ui import Select

    Select(chromium.find_element("id", "axis")).select_by_value("energy:onnxruntime")
    if not chromium.find_element("id", "log").is_selected():
        chromium.find_element("id", "log").click()
    assert find(chromium, "#chart .point") and chromium.get_log("browser") == []


def test_a_pdf_and_a_picture_are_written(study: Path, tmp_path: Path) -> None:
    pdf, png = tmp_path / "report.pdf", tmp_path / "report.png"
    done = CliRunner().invoke(main, ["report", str(study), "--pdf", str(pdf), "--png", str(png)])
    assert done.exit_code == 0, done.output
    assert pdf.read_bytes().startswith(b"%PDF") and pdf.stat().st_size > 20_000
    from PIL import Image

    with Image.open(png) as picture:
        assert picture.width == 1200 and picture.height > 3000
