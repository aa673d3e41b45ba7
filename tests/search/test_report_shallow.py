"""Reports of students that lack blocks or look at smaller inputs: what is gone is not counted, drawn or called full."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from browser import find, missing, text
from shallow_spaces import AXES, BLOCKS, shallow_space
from simulated_study import EXAMPLES, write_study

from autocompress.search.followers.telling import Telling
from autocompress.search.report.front import Front
from autocompress.search.report.html.build import report_text
from autocompress.search.report.html.layers import layer_data
from autocompress.search.report.html.record import read_record
from autocompress.search.report.html.wording import PlanWords
from autocompress.search.report.space_report import describe_space
from autocompress.search.report.techniques import techniques
from autocompress.search.trial import Origin, Trial, TrialState
from autocompress.spaces.plan import Plan
from autocompress.spaces.spec import Pattern, StudentSpec

SPACE = shallow_space()


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Front:
    return write_study(tmp_path_factory.mktemp("runs") / "shallow", 40, space=SPACE)


def lost(trial: Trial) -> set[str]:
    return {layer for name in trial.spec.dropped for layer in BLOCKS[name]}


def words(described: dict[str, Any], spec: StudentSpec) -> list[str]:
    return PlanWords(described).of(Trial(1, Plan({"x": 1}), spec, Origin.SEARCH, "search", TrialState.FINISHED))


def test_shares_of_a_shallow_student_are_those_of_what_is_left() -> None:
    described = json.loads(json.dumps(describe_space(SPACE, (), (), {})))
    pattern = {name: Pattern("2:4", 0.5) for name in ("c2", "c4")}
    spec = StudentSpec({"c0": 16, "c3": 16}, {"c0": 8, "c3": 8, "c4": 8}, pattern, dropped=("b1",))
    told = words(described, spec)
    assert "8 bits in 2 of 6 layers" in told and "2:4 zeros in 1 of 6 layers" in told
    assert "90 % of channels (1 of 5 groups narrower)" in told
    whole = StudentSpec({"c0": 16}, {"c0": 8})
    assert "8 bits in 1 of 8 layers" in words(described, whole)
    assert "93 % of channels (1 of 7 groups narrower)" in words(described, whole)


def test_a_folder_of_an_older_version_still_has_words() -> None:
    described = describe_space(SPACE, (), (), {})
    del described["blocks"]
    assert "8 bits in 1 of 8 layers" in words(described, StudentSpec(bits={"c0": 8}, dropped=("b1",)))


def test_a_report_knows_the_layers_that_a_model_lost(front: Front) -> None:
    names = [layer.name for layer in SPACE.context.layers]
    kept = layer_data(read_record(front.folder), frozenset())["lost"]
    found = {t.number: lost(t) for t in front.trials if t.finished and t.spec.dropped}
    assert found
    assert {int(number): {names[at] for at in places} for number, places in kept.items()} == found


def test_the_full_size_is_called_so_where_trials_are_logged(front: Front) -> None:
    told = Telling(front.folder, front.limits, front.objectives, SPACE.variables, EXAMPLES).of(front.trials, 0)
    sizes = {trial.number: trial.spec.size for trial in front.trials}
    assert {0, 16} <= set(sizes.values())
    assert all(each.decisions["size"] == (str(sizes[each.number]) if sizes[each.number] else "full") for each in told)
    assert all(each.decisions[f"bits:{name}"] in (32, 8) for each in told for name in ("c0", "c4"))


def test_the_search_is_told_by_the_axes_that_it_decides_about(front: Front) -> None:
    meaning = techniques(front).rows[-1].meaning
    assert all(axis in meaning for axis in AXES) and meaning.endswith("decided together")


@pytest.mark.skipif(bool(missing()), reason=missing() or "a browser is there")
def test_what_is_gone_is_not_drawn_as_if_it_were_there(chromium: Any, front: Front, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    trial = next(t for t in front.trials if t.finished and t.spec.size and len(lost(t)) > 1)
    at = [variable.name for variable in SPACE].index("size")
    written, count = re.subn(r'"parallel":\[[^]]*\]', f'"parallel":[{at}]', report_text(read_record(front.folder)))
    assert count == 1
    page.write_text(written)
    chromium.get("about:blank")
    chromium.get_log("browser")
    chromium.get(f"{page.as_uri()}#pins={trial.number}")
    gone = [i for i, layer in enumerate(SPACE.context.layers) if layer.name in lost(trial)]
    assert len(find(chromium, "#layers-bits rect.gone")) == len(gone)
    assert len(find(chromium, "#layers-bits rect[class^=bits]")) == len(SPACE.context.layers) - len(gone)
    for i, layer in enumerate(SPACE.context.layers):
        (column,) = find(chromium, f"#layers-channels .front rect[data-row='{i}']")
        assert (float(column.get_attribute("height")) < 1) == (layer.name in lost(trial))
    assert "gone with a block that was dropped" in text(chromium, "#layers-note")
    chromium.execute_script("document.getElementById('layers-details').open = true")
    assert f"full → {trial.spec.size}" in text(chromium, "#layers-table")
    chromium.execute_script("document.querySelector('#pins details').open = true")
    assert "full" in text(chromium, "#pins")
    assert "full" in text(chromium, "#parallel text") and chromium.get_log("browser") == []
