"""A study whose machine is not what it was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from as_measured import as_measured

import autocompress
from autocompress.errors import ConditionsChanged, MeasurementError, StorageError
from autocompress.files import write_json
from autocompress.search.evaluate.target_session import LatencyMeter
from autocompress.search.report.front import Front
from autocompress.search.report.reading import read_front
from autocompress.search.trial import TrialState
from autocompress.studies.task import load_task

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("briefly")]


@pytest.fixture
def moved(finished: Front, tmp_path: Path) -> Path:
    """A study that was measured under another governor."""
    folder = tmp_path / finished.folder.name
    shutil.copytree(finished.folder, folder)
    (path,) = folder.glob("targets/*/calibration.json")
    data = json.loads(path.read_text())
    data["conditions"]["governor"] = "another"
    write_json(path, {**data, "fingerprint": "elsewhere"})
    return folder


@pytest.fixture
def go_on(tiny_task: Path, sections: dict[str, Any], moved: Path) -> Callable[..., Front]:
    def search(**more: Any) -> Front:
        without = {"without": ("latency_model", "sensitivity")}
        task = load_task(str(tiny_task))
        return autocompress.compress(
            task, budget_ms=50.0, trials=1, runs=moved.parent, search=without, **sections, **more
        )

    return search


def test_other_conditions_are_named_and_all_students_can_be_measured_anew(
    finished: Front, moved: Path, go_on: Callable[..., Front], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StorageError, match=r"governor was another, is .*--remeasure"):
        go_on()
    before = read_front(moved)
    assert as_measured(before.trials) == as_measured(finished.trials), "nothing has failed by that"
    after = go_on(remeasure=True)
    assert [t.number for t in after.trials[: len(before.trials)]] == [t.number for t in before.trials]
    for old, new in zip(before.trials, after.trials, strict=False):
        assert old.state is new.state and old.measured.keys() == new.measured.keys()
        for name, file in new.measured.items():
            was = old.measured[name]
            assert (file.accuracy, file.size_bytes) == (was.accuracy, was.size_bytes)
            assert file.latency != was.latency and new.gate[name] == file.latency
    assert after.confirmed and not (moved / "remeasure.json").exists()
    assert as_measured(read_front(moved).trials) == as_measured(after.trials)

    # and a night in which they change meanwhile
    monkeypatch.setattr(LatencyMeter, "is_current", lambda self: False)
    monkeypatch.setattr(LatencyMeter, "what_changed", lambda self: "governor was performance, is powersave")
    with pytest.raises((ConditionsChanged, StorageError), match="governor was performance"):
        go_on()
    assert all(t.state is not TrialState.FAILED for t in read_front(moved).trials)


def test_what_cannot_be_measured_anew_is_kept_and_two_machines_are_never_mixed(
    finished: Front, moved: Path, go_on: Callable[..., Front], monkeypatch: pytest.MonkeyPatch
) -> None:
    (calibration,) = moved.glob("targets/*/calibration.json")
    calibration.write_text('{"p50_ms": "damaged"}')
    numbers = {t.number for t in finished.trials if t.finished}
    bad = max(numbers)
    measured: list[str] = []
    real = LatencyMeter.measure

    def measure(self: LatencyMeter, paths: Sequence[Path], *rest: Any, **more: Any) -> Any:
        (path, *_) = paths
        if path.parent.name == f"{bad:04d}":
            raise MeasurementError("the timing process died")
        if path.parent.parent.name == "trials":
            measured.append(path.parent.name)
        return real(self, paths, *rest, **more)

    monkeypatch.setattr(LatencyMeter, "measure", measure)
    with pytest.raises(MeasurementError, match=f"1 of .* trial {bad} .*the timing process died.*again") as caught:
        go_on(remeasure=True)
    assert "\n" not in str(caught.value)
    assert {int(name) for name in measured} == numbers - {bad}
    assert {t.number for t in read_front(moved).trials if t.finished} == numbers, "none has failed by that"
    assert json.loads((moved / "remeasure.json").read_text())["left"] == [bad]

    # before it is gone on with, the machine becomes another one once more, and a file is lost
    data = json.loads(calibration.read_text())
    write_json(calibration, {**data, "fingerprint": "elsewhere"})
    note = json.loads((moved / "remeasure.json").read_text())
    write_json(moved / "remeasure.json", {**note, "conditions": dict.fromkeys(note["conditions"], "elsewhere")})
    gone = min(numbers)
    next((moved / "trials" / f"{gone:04d}").glob("model.*")).unlink()
    measured.clear()
    with pytest.raises(MeasurementError, match=r"2 of .* models could not be measured anew"):
        go_on()
    assert {int(name) for name in measured} == numbers - {bad, gone}, "all of them again"
    assert {t.number for t in read_front(moved).trials if t.finished} == numbers, "a file may still be restored"

    # what cannot be measured in a second run either fails
    measured.clear()
    after = {t.number: t for t in go_on().trials}
    assert after[bad].state is TrialState.FAILED and "the timing process died" in after[bad].reason
    assert after[gone].state is TrialState.FAILED and "is gone" in after[gone].reason
    assert all(after[n].finished for n in numbers - {bad, gone}) and not (moved / "remeasure.json").exists()
