"""The report in a real headless Chromium, opened from the disk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from browser import browser, missing, resize, show
from click.testing import CliRunner
from simulated_study import write_study

from autocompress.cli import main
from autocompress.search.report.html.answer import pick_command
from autocompress.search.report.html.build import write_report
from autocompress.search.report.html.compare_page import compare_studies
from autocompress.search.report.html.points import study_values
from autocompress.search.report.html.record import Record, read_record

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "a browser is there")
EVIL = '<img src="x" onerror="document.title = 1">'


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "simulated"
    write_study(folder, 60, budget_ms=2.0, labels={2: EVIL})
    write_report(read_record(folder), folder / "report.html")
    return folder


@pytest.fixture(scope="module")
def record(study: Path) -> Record:
    return read_record(study)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as driver:
        yield driver


@pytest.fixture
def page(chromium: Any, study: Path) -> Iterator[Any]:
    """The report, as it is when it was just opened; there may be no error by the end."""
    chromium.get("about:blank")
    for kind in ("browser", "performance"):
        chromium.get_log(kind)
    show(chromium, study / "report.html")
    yield chromium
    assert [line["message"] for line in chromium.get_log("browser")] == []
    requests = [json.loads(line["message"])["message"] for line in chromium.get_log("performance")]
    asked = {r["params"]["request"]["url"] for r in requests if r["method"] == "Network.requestWillBeSent"}
    assert all(url.startswith(("file:", "data:", "about:")) for url in asked), asked


def find(page: Any, selector: str) -> list[Any]:
    found: list[Any] = page.find_elements("css selector", selector)
    return found


def text(page: Any, selector: str) -> str:
    return " ".join(element.text for element in find(page, selector))


def click_point(page: Any, number: int) -> None:
    """Click with the mouse where a trial lies on the chart."""
    from selenium.webdriver.common.action_chains import ActionChains

    point = page.execute_script(
        "const row = JSON.parse(document.getElementById('data').textContent).trials.number.indexOf(arguments[0]);"
        "const found = document.querySelector(`#chart .point[data-row='${row}']`);"
        "document.getElementById('chart').scrollIntoView({block: 'center', behavior: 'instant'}); return found",
        number,
    )
    ActionChains(page).move_to_element(point).click().perform()


def test_the_front_is_drawn_with_intervals_names_and_the_budget(page: Any, record: Record) -> None:
    drawn = {int(point.get_attribute("data-row")) for point in find(page, "#chart .point[data-row]")}
    rows = {number: row for row, number in enumerate(sorted(t.number for t in record.front.trials))}
    assert {rows[entry.number] for entry in record.front.best} <= drawn
    assert find(page, "#chart .hand .point") and find(page, "#chart .rug")
    assert all(find(page, f"#chart {part}") for part in (".front .bars", ".front.line", ".ring.choice"))
    assert "budget 2 ms" in text(page, "#chart .limit-text")
    assert "teacher" in text(page, "#chart .name")


def test_pointing_at_a_model_tells_its_plan_and_its_figures(page: Any, record: Record) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    entry = record.front.best[3]
    click_point(page, entry.number)
    ActionChains(page).move_by_offset(1, 1).perform()
    tip = text(page, "#chart .tip")
    assert f"trial {entry.number} (" in tip and entry.metric_text in tip and "% of channels" in tip


def test_a_click_pins_and_two_pinned_models_are_compared_decision_by_decision(page: Any, record: Record) -> None:
    first, second = record.front.best[1], record.front.best[-2]
    click_point(page, first.number)
    assert f"A: trial {first.number}" in text(page, "#pins")
    click_point(page, second.number)
    assert find(page, "#measured-comparison") and f"B: trial {second.number}" in text(page, "#pins")
    a, b = first.trial.plan.choices, second.trial.plan.choices
    firsts = {v["name"]: v["options"][0] for v in record.space["variables"]}
    differ = {n for n in {**a, **b} if a.get(n, firsts[n]) != b.get(n, firsts[n])}
    told = {cell.text for cell in find(page, "#decisions tbody th")}
    assert told == differ
    assert len(find(page, "#chart .ring.pin")) == 2
    click_point(page, first.number)
    assert not find(page, "#decisions")


def slide(page: Any, step: int) -> None:
    page.execute_script(
        "const b = document.getElementById('budget'); b.value = arguments[0]; b.dispatchEvent(new Event('input'))", step
    )


def test_the_slider_moves_the_choice_as_pick_does(page: Any, record: Record) -> None:
    asked = record.front.fitting[0].number
    assert text(page, "#chosen") == f"trial {asked}"
    chosen = set()
    for step in (150, 400, 700, 1000):
        slide(page, step)
        said = text(page, "#budget-text")
        budget = None if said == "any" else float(said.split()[0])
        limits = record.front.limits.changed(budget)
        best = record.front.under(limits if budget else record.front.limits.__class__(record.front.targets))[0]
        assert text(page, "#chosen") == f"trial {best.number}", said
        assert f"--trial {best.number} " in text(page, "#choice code")
        assert f"Trial {best.number} (" in text(page, "#layers-title")
        chosen.add(best.number)
    assert len(chosen) > 2
    slide(page, 0)
    assert "No model meets" in text(page, "#choice") or find(page, "#chosen")
    page.find_element("id", "reset").click()
    assert text(page, "#chosen") == f"trial {asked}"


def test_filters_and_sorting_hold_for_the_table(page: Any, record: Record) -> None:
    rows = find(page, "#models tbody tr")
    assert len(rows) == min(25, len(record.front.fitting)) or len(rows) == 25
    page.find_element("id", "only-front").click()
    assert len(find(page, "#models tbody tr")) == len(record.front.best)
    next(button for button in find(page, "#models thead button") if button.text == "accuracy").click()
    shown = [float(row.text.split("\n")[0]) for row in find(page, "#models tbody tr td:nth-child(4)")]
    assert shown == sorted(shown)
    on_front = {e.number for e in record.front.best}
    surely = {e.number: record.front.least(e) for e in record.front.fitting if e.number in on_front}
    floor = sorted(surely.values())[len(surely) // 2] - 1e-6
    page.find_element("id", "least-metric").send_keys(f"{floor:.9f}")
    numbers = sorted(trial.number for trial in record.front.trials)
    kept = {numbers[int(row.get_attribute("data-row"))] for row in find(page, "#models tbody tr")}
    assert kept == {number for number, least in surely.items() if least >= floor}
    page.find_element("id", "only-front").click()
    page.find_element("id", "unfinished").click()
    while find(page, "#more")[0].is_displayed():
        page.find_element("id", "more").click()
    assert "over the budget of 5 ms" in text(page, "#models")


def test_the_keyboard_does_what_the_mouse_does(page: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    row = find(page, "#models tbody tr[tabindex='0']")[0]
    page.execute_script("arguments[0].focus()", row)
    page.switch_to.active_element.send_keys(Keys.ENTER)
    assert find(page, "#chart .ring.pin") and "A: trial" in text(page, "#pins")
    page.switch_to.active_element.send_keys(Keys.ARROW_DOWN)
    page.switch_to.active_element.send_keys(Keys.ENTER)
    assert find(page, "#measured-comparison")


def test_what_was_chosen_is_kept_when_the_page_loads_itself_again(page: Any, record: Record) -> None:
    click_point(page, record.front.best[2].number)
    slide(page, 400)
    before = text(page, "#pins"), text(page, "#budget-text"), text(page, "#chosen")
    page.refresh()
    assert (text(page, "#pins"), text(page, "#budget-text"), text(page, "#chosen")) == before


def test_layers_and_the_search_are_drawn(page: Any, record: Record) -> None:
    layers = len(record.space["layers"])
    assert len(find(page, "#layers-bits rect[class^=bits]")) == layers
    assert len(find(page, "#layers-ms rect[data-row]")) == layers
    assert find(page, "#volume .band") and find(page, "#importance-0 rect") and find(page, "#parallel .line.front")
    page.execute_script("document.getElementById('layers-details').open = true")
    assert find(page, "#layers-table tbody tr")


def test_another_axis_can_be_chosen(page: Any) -> None:
    from selenium.webdriver.support.ui import Select

    for option in [o.get_attribute("value") for o in find(page, "#axis option")]:
        Select(page.find_element("id", "axis")).select_by_value(option)
        assert find(page, "#chart .point")
    assert "peak memory, MB" in text(page, "#chart .title")


def test_a_label_is_text_wherever_it_shows(page: Any, record: Record) -> None:
    click_point(page, 2) if 2 in {e.number for e in record.front.best} else None
    assert not find(page, "img")
    assert EVIL in text(page, "#models") + text(page, "main")
    assert page.title != "1"


def test_it_is_readable_on_a_phone_and_in_the_dark(study: Path) -> None:
    with browser(dark=True) as driver:
        resize(driver, 360, 740)
        show(driver, study / "report.html")
        assert driver.execute_script("return document.documentElement.scrollWidth") <= 360
        paper = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert max(int(part) for part in paper.strip("rgb()").split(",")) < 60
        ink = driver.execute_script("return getComputedStyle(document.querySelector('#chart text')).fill")
        assert min(int(part) for part in ink.strip("rgb()").split(",")) > 120
        assert driver.get_log("browser") == []


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


def opened(driver: Any, record: Record, path: Path) -> None:
    """Show the report of a record, which must not make an error."""
    write_report(record, path)
    driver.get("about:blank")
    driver.get_log("browser")
    show(driver, path)
    assert [line["message"] for line in driver.get_log("browser")] == []


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
