"""The report in a real headless Chromium, opened from the disk."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from browser import browser, click_point, find, missing, opened, resize, show, slide, text
from simulated_study import write_study

from autocompress.search.report.html.build import write_report
from autocompress.search.report.html.record import Record, read_record
from autocompress.search.trial import Trial

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


def test_the_page_chooses_as_pick_does_under_a_drop_and_among_models_of_unlike_noise(
    chromium: Any, record: Record, tmp_path: Path
) -> None:
    """A limit against the teacher is one on the figure; and a worse model may be within noise where a better is not."""
    sds = random.Random(0)

    def noisy(trial: Trial) -> Trial:
        if not trial.finished:
            return trial
        file = replace(trial.measured["onnxruntime"], accuracy_sd=sds.choice((0.0002, 0.01)))
        return replace(trial, measured={"onnxruntime": file})

    qualities = sorted(entry.quality for entry in record.front.fitting)
    limits = replace(record.front.limits, min_accuracy=qualities[len(qualities) // 2])
    front = replace(record.front, trials=tuple(map(noisy, record.front.trials)), limits=limits)
    assert {e.number for e in front.fitting} != {
        e.number for e in front.under(replace(limits, sure_accuracy=limits.min_accuracy))
    }, "the two kinds of limits differ here"
    opened(chromium, replace(record, front=front), tmp_path / "noisy.html")
    for step in (300, 500, 700, 900, 1000):
        slide(chromium, step)
        said = text(chromium, "#budget-text")
        best = front.under(replace(limits, budget_ms=None if said == "any" else float(said.split()[0])))
        assert text(chromium, "#chosen") == (f"trial {best[0].number}" if best else ""), said
    assert chromium.get_log("browser") == []


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
    head = next(button for button in find(page, "#models thead button") if button.text == "accuracy")
    page.execute_script("arguments[0].focus()", head)
    for order in ("ascending", "descending"):
        page.switch_to.active_element.send_keys(Keys.ENTER)
        assert page.switch_to.active_element.text.startswith("accuracy"), "whoever sorts can go on from there"
        assert find(page, f"#models th[aria-sort={order}]")


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


def test_only_layers_of_the_network_that_a_model_is_cut_from_are_drawn(
    chromium: Any, study: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "beside"
    shutil.copytree(study, folder)
    described = json.loads((folder / "space.json").read_text())
    for i, layer in enumerate(described["layers"]):
        layer["network"] = "small" if i < 2 else ""
    (folder / "space.json").write_text(json.dumps(described))
    write_report(read_record(folder), folder / "report.html")
    chromium.get_log("browser")
    show(chromium, folder / "report.html")
    assert len(find(chromium, "#layers-bits rect[class^=bits]")) == len(described["layers"]) - 2
    assert len(find(chromium, "#layers-ms rect[data-row]")) == len(described["layers"]) - 2
    assert chromium.get_log("browser") == []


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
        asked = {"media": "print", "features": [{"name": "prefers-color-scheme", "value": "dark"}]}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", asked)
        paper = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert min(int(part) for part in paper.strip("rgb()").split(",")) > 200, "paper is white"
        assert driver.get_log("browser") == []
