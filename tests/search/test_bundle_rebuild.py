"""A bundle can be made again: its recipe reads back, and gives the same figures."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from bundles import HERE
from hypothesis import given
from hypothesis import strategies as st

from autocompress import BundleError, Front, UsageError
from autocompress.search.bundle.recipe import read_recipe, toml_text
from autocompress.search.bundle.record import Figure
from autocompress.search.bundle.templates import code, markdown, quoted
from autocompress.search.report.intervals import MetricIntervals
from autocompress.studies.metric import MetricLabel

yaml = pytest.importorskip("yaml")

KEYS = st.text(max_size=8)
VALUES = st.recursive(
    st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
SENSIBLE = st.characters(exclude_categories=("Cs",))


@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_what_is_written_as_toml_is_read_back(values: dict[str, Any]) -> None:
    assert tomllib.loads(toml_text(values)) == values


@given(st.text(SENSIBLE))
def test_texts_in_the_metadata_are_read_back(text: str) -> None:
    assert yaml.safe_load(f"- name: {quoted(text)}") == [{"name": text}]


@given(st.text(SENSIBLE))
def test_texts_in_the_card_stay_in_their_place(text: str) -> None:
    shown = markdown(text)
    assert "\n" not in shown and "<" not in shown and not re.search(r"(?<!\\)(\\\\)*[|`*_\[]", shown)
    assert "\n" not in code(text)


@given(st.floats(0, 1), st.integers(1, 100_000))
def test_the_interval_of_a_share_holds_it(value: float, count: int) -> None:
    found = MetricIntervals(MetricLabel(), {"test": count}).around(value, "test")
    figure = Figure(found.value, found.low, found.high, count)
    assert figure.low is not None and figure.high is not None
    assert -1e-9 <= figure.low <= value <= figure.high <= 1 + 1e-9 and figure.holds(value)


def test_the_recipe_has_the_students_it_begins_with(finished: Front, bundle: Path) -> None:
    recipe, entry = read_recipe(bundle / "recipe.toml"), finished.pick().entry
    assert recipe.students[-1].number == entry.number and recipe.students[-1].spec == entry.trial.spec
    assert recipe.validation[HERE].value == entry.accuracy
    with pytest.raises(BundleError, match="no such file"):
        read_recipe(bundle / "other.toml")
    assert str(Path.home()) not in (bundle / "README.md").read_text()


def test_a_rebuild_goes_on_with_the_teacher_that_it_was_begun_with(
    bundle: Path, tiny_task: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from autocompress.search.bundle import rebuild as room
    from autocompress.studies.checkpoint import save_weights
    from autocompress.studies.task import load_task

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(room, "open_context", stopped)
    recipe, weights = read_recipe(bundle / "recipe.toml"), tmp_path / "teacher.safetensors"

    def again() -> None:
        room.rebuild(recipe, tmp_path / "again", load_task(str(tiny_task)), teacher=weights)

    network = load_task(str(tiny_task)).teacher
    save_weights(network, weights)
    for _ in range(2):  # the same command goes on
        with pytest.raises(KeyboardInterrupt):
            again()
    with torch.no_grad():
        next(network.parameters()).add_(0.01)
    save_weights(network, weights)
    with pytest.raises(UsageError, match=r"begun with another teacher .*; give another folder"):
        again()


@pytest.mark.slow
def test_rebuild_gives_the_same_figures(briefly: None, finished: Front, tiny_task: Path, tmp_path: Path) -> None:
    from autocompress.search.bundle.rebuild import first_files, rebuild
    from autocompress.studies.task import load_task

    taught = [e for e in finished.entries if e.trial.spec.recovery is not None and e.confirmed is not None]
    folder = finished.trial(taught[0].number).save(tmp_path / "deploy").parent
    recipe = read_recipe(folder / "recipe.toml")
    first = first_files(recipe, folder)
    made = rebuild(recipe, tmp_path / "again", load_task(str(tiny_task)), first=first)
    assert first and not made.other
    figures = {each.name: each for each in made.compared}
    assert figures["accuracy, validation"].within and figures["accuracy, test"].within
    assert made.files[HERE].is_file()
    with pytest.raises(UsageError, match="not empty"):
        rebuild(recipe, tmp_path / "again")
