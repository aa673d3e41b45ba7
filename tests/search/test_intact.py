"""Figures and files are joined by a checksum: nothing is shown, picked or kept for another file."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from simulated_study import TARGET, write_study

from autocompress.errors import BudgetError, StorageError, UsageError
from autocompress.files import digest, write_json
from autocompress.search.report.confirm import by_weight
from autocompress.search.report.front import Front
from autocompress.search.report.intact import intact
from autocompress.search.report.looks import LongLook, LongLooks, read_confirmed
from autocompress.search.report.table import remarks, rows
from autocompress.search.store.layout import trial_folder
from autocompress.spaces.plain import to_plain


@pytest.fixture
def front(tmp_path: Path) -> Front:
    """A simulated study whose measurements say which files they are of."""
    found = write_study(tmp_path / "simulated", 40)
    trials = []
    for trial in found.trials:
        if trial.finished:
            path = trial_folder(found.folder, trial.number) / "model.onnx"
            path.write_bytes(f"model {trial.number}".encode())
            file = replace(trial.measured[TARGET], sha256=digest(path))
            trial = replace(trial, measured={TARGET: file})
        trials.append(trial)
    return replace(found, trials=tuple(trials))


def model(front: Front, number: int) -> Path:
    return trial_folder(front.folder, number) / "model.onnx"


def test_two_swapped_files_are_neither_shown_nor_picked(front: Front) -> None:
    assert intact(front, by_weight) == front
    one, other = front.best[0].number, front.best[-1].number
    first, second = model(front, one), model(front, other)
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    left = intact(front, by_weight)
    assert set(left.changed) == {one, other}
    assert not {str(one), str(other)} & {row[1] for row in rows(left)}
    assert len(remarks(left)) == 2 and all("SHA-256 differs" in line for line in remarks(left))
    assert front.pick().entry.number not in (one, other)
    with pytest.raises(StorageError, match="not the file that trial"):
        front.trial(one)
    with pytest.raises(StorageError, match="not the file that trial"):
        left.trial(one)
    assert len(rows(left)) > 0


def test_tables_for_programs_leave_out_what_the_front_does(front: Front) -> None:
    """Milliseconds of another machine are no figures of a model, whoever reads them."""
    number, whole = front.best[-1].number, front.to_pandas().set_index("trial")
    frame = front.without({number: "measured on another machine"}).to_pandas().set_index("trial")
    row = frame.loc[number]
    assert (row["outcome"], row["reason"]) == ("left out", "measured on another machine")
    for column in ("gate_p50_ms", "p50_ms", "p99_ms", "accuracy", "test_accuracy", "size_bytes", "peak_memory_mb"):
        assert row[column] is None or math.isnan(row[column]), column
    others = whole["outcome"].drop(number) == "finished"
    assert frame["p50_ms"].drop(number)[others].tolist() == whole["p50_ms"].drop(number)[others].tolist()


def test_a_file_that_is_gone_costs_its_trial_alone(front: Front) -> None:
    gone = front.fitting[0].number
    model(front, gone).unlink()
    left = intact(front, by_weight)
    assert set(left.changed) == {gone} and left.fitting[0].number != gone
    assert front.pick().entry.number == left.fitting[0].number


def test_without_any_file_nothing_can_be_picked(front: Front) -> None:
    for entry in front.entries:
        model(front, entry.number).unlink()
    with pytest.raises(BudgetError):
        front.pick()
    assert intact(front, by_weight).entries == [] or not intact(front, by_weight).best


def test_longer_looks_at_other_files_of_a_number_are_not_taken(front: Front) -> None:
    """As after a database was restored, which gives its numbers anew."""
    looks = {}
    for entry in front.best[:2]:
        sha256 = entry.trial.measured[TARGET].sha256 if not looks else "0" * 64
        look = LongLook(sha256, 0.9, entry.latency)
        looks[str(entry.number)] = to_plain(LongLooks((TARGET,), {TARGET: look}))
    write_json(front.folder / "confirmed.json", looks)
    assert set(read_confirmed(front.folder, front.trials)) == {front.best[0].number}


def test_a_bundle_is_never_written_into_a_study(front: Front) -> None:
    number = front.best[0].number
    before = model(front, number).read_bytes()
    for out in (front.folder, trial_folder(front.folder, number), front.folder / "deploy" / "new"):
        for layout in ("folder", "triton"):
            with pytest.raises(UsageError, match="is in the study"):
                front.trial(number).save(out, layout)
    assert model(front, number).read_bytes() == before and not (front.folder / "deploy").exists()


def test_a_file_that_was_changed_after_it_was_chosen_is_not_shipped(front: Front, tmp_path: Path) -> None:
    picked = front.pick()
    picked.path.write_bytes(b"another model")
    with pytest.raises(StorageError, match="not the file that trial"):
        picked.save(tmp_path / "deploy")
