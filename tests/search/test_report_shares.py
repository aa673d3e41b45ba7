"""The measured shares of layers: taken at the end of a search, kept in the study, shown in its report."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from browser import browser, missing, show
from simulated_study import TARGET, write_study

from autocompress.errors import StorageError
from autocompress.evaluators.layer_shares import LayerShares, Together
from autocompress.files import digest, read_json, write_json
from autocompress.search.report.confirm import by_weight
from autocompress.search.report.front import Front
from autocompress.search.report.html.build import write_report
from autocompress.search.report.html.layers import layer_data
from autocompress.search.report.html.record import Record, read_record
from autocompress.search.report.looks import LongLook, LongLooks, read_looks
from autocompress.search.report.profiles import Profiles, profile_models, read_profiles, read_shares
from autocompress.spaces.plain import to_plain

if TYPE_CHECKING:
    from autocompress.search.executors.base import ExecutorContext


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated study; the teacher and the fastest model were confirmed and profiled."""
    folder = tmp_path_factory.mktemp("runs") / "simulated"
    front = write_study(folder, 30)
    layers = [layer["name"] for layer in read_record(folder).space["layers"]]
    looks, files = {}, {}
    assert front.teacher is not None
    for entry in (front.teacher, front.best[0]):
        look = LongLook(f"sha of {entry.number}", 0.9, entry.latency)
        looks[str(entry.number)] = to_plain(LongLooks((TARGET,), {TARGET: look}))
        lead = 0.5 if entry is front.teacher else 0.3
        shares = {layers[0]: lead, **dict.fromkeys(layers[1:-2], (0.9 - lead) / (len(layers) - 3))}
        files[look.sha256] = LayerShares(shares, (Together(tuple(layers[-2:]), 0.06),), {"<b>Reorder</b>": 0.04})
    write_json(folder / "confirmed.json", looks)
    write_json(folder / "profiles.json", {TARGET: to_plain(Profiles(True, files))})
    return folder


def test_shares_belong_to_the_models_whose_files_were_profiled(study: Path) -> None:
    record = read_record(study)
    front = record.front
    assert front.teacher is not None
    assert set(record.shares[TARGET]) == {front.teacher.number, front.best[0].number}
    found = layer_data(record, frozenset())["measured"][TARGET][str(front.best[0].number)]
    places = len(record.space["layers"])
    assert len(found["layers"]) == places and found["layers"][0] == 0.3 and found["layers"][-1] is None
    assert found["together"] == [[[places - 2, places - 1], 0.06]]
    assert found["named"] == pytest.approx(0.96)


def test_studies_without_profiles_and_runtimes_without_them_are_read(study: Path, tmp_path: Path) -> None:
    folder = tmp_path / "older"
    shutil.copytree(study, folder)
    (folder / "profiles.json").unlink()
    assert read_record(folder).shares == {}
    write_json(folder / "profiles.json", {TARGET: to_plain(Profiles(False))})
    assert read_record(folder).shares == {}
    write_report(read_record(folder), folder / "report.html")


def test_what_is_no_profile_is_told_in_one_line(study: Path, tmp_path: Path) -> None:
    (tmp_path / "profiles.json").write_text('{"onnxruntime": 3}')
    with pytest.raises(StorageError, match="delete it") as caught:
        read_profiles(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(bool(missing()), reason=missing() or "a browser is there")
def test_the_page_shows_measured_shares_where_they_are_known_and_says_which(study: Path) -> None:
    record = read_record(study)
    write_report(record, study / "report.html")
    other = next(e for e in record.front.best[1:] if e.number not in record.shares[TARGET])
    with browser() as page:
        show(page, study / "report.html")
        assert "Shares are measured" in look(page, record, record.front.best[0].number)
        note = page.find_element("css selector", "#layers-note").text
        assert "96 % of the time lies in named layers" in note and "<b>Reorder</b> 4.0 %" in note
        assert "Times are predicted" in look(page, record, other.number)
        assert [line["message"] for line in page.get_log("browser")] == []


def look(page: Any, record: Record, number: int) -> str:
    """Show a model's layers, and return what is said of them."""
    row = [trial.number for trial in record.front.trials].index(number)
    page.execute_script(
        "const select = document.getElementById('layers-of'); select.value = arguments[0];"
        "select.dispatchEvent(new Event('change'))",
        str(row),
    )
    text: str = page.find_element("css selector", "#layers-note").text
    return text


@pytest.mark.slow
def test_a_search_keeps_the_profiles_of_what_it_confirmed(finished: Front) -> None:
    record = read_record(finished.folder)
    shares, layers = record.shares[TARGET], {layer["name"] for layer in record.space["layers"]}
    assert set(shares) >= {entry.number for entry in by_weight(record.front)} & set(record.front.confirmed)
    for found in shares.values():
        assert found.named + sum(found.other.values()) == pytest.approx(1)
        assert set(found.layers) == layers
    looks = read_looks(finished.folder)
    for entry in finished.entries:
        if entry.number in shares:
            assert digest(finished.paths(entry)[TARGET]) == looks[entry.number].files[TARGET].sha256


@pytest.mark.slow
def test_profiles_without_time_are_left_to_the_next_run_and_taken_once(
    finished: Front, opened_context: ExecutorContext, tmp_path: Path
) -> None:
    folder = tmp_path / "again"
    shutil.copytree(finished.folder, folder)
    (folder / "profiles.json").unlink()
    context, said = replace(opened_context.context, folder=folder), list[str]()
    front = replace(read_record(folder).front, folder=folder)
    profile_models(context, front, said.append, time.monotonic() - 1)
    assert read_shares(folder) == {TARGET: {}} and not said
    profile_models(context, front, said.append)
    kept = read_json(folder / "profiles.json")
    assert set(read_shares(folder)[TARGET]) == {e.number for e in by_weight(front)} & set(front.confirmed)
    assert not said
    profile_models(context, front, said.append)
    assert read_json(folder / "profiles.json") == kept


@pytest.mark.slow
def test_a_file_that_cannot_be_profiled_ends_nothing(
    finished: Front, opened_context: ExecutorContext, tmp_path: Path
) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(finished.folder, folder)
    (folder / "profiles.json").unlink()
    for path in (folder / "trials").glob("*/model.onnx"):
        path.write_bytes(b"no model")
    said: list[str] = []
    profile_models(replace(opened_context.context, folder=folder), replace(finished, folder=folder), said.append)
    assert len(said) == 1 and "no profile of trial" in said[0] and "\n" not in said[0]
