"""Measuring a study anew where the machine fails, is left half way, or is another one. Nothing is really measured."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from simulated_study import TARGET, write_study
from simulation import OBJECTIVES, SimulatedExecutor, latency, make_driver, make_problem

from autocompress.errors import ExportError, MeasurementError
from autocompress.evaluators.measurement import Latency
from autocompress.files import read_json, write_json
from autocompress.search import remeasure as remeasuring
from autocompress.search.remeasure import begin_remeasuring, remeasure
from autocompress.search.report.confirm import is_open
from autocompress.search.report.looks import LongLook, LongLooks, read_looks, write_looks
from autocompress.search.report.reading import read_front
from autocompress.search.store.database import read_trials
from autocompress.search.store.layout import calibration_path, remeasuring_path
from autocompress.search.store.trials import TrialStore
from autocompress.search.trial import Origin, Trial, TrialState
from autocompress.spaces.plan import Plan
from autocompress.spaces.spec import StudentSpec

NOW = replace(latency(1.0), ratio=0.25, ratio_low=0.24, ratio_high=0.26)
"""What the machine of now takes for any file."""
Fails = Callable[[Path], bool]
TEACHER = Path("teacher.onnx")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("remeasure") / "simulated", 40).folder


@pytest.fixture
def folder(study: Path, tmp_path: Path) -> Path:
    """A study that was begun to be measured anew, on a machine that was calibrated since."""
    copy = shutil.copytree(study, tmp_path / "simulated")
    known = read_json(calibration_path(copy, TARGET))
    begin_remeasuring(copy)
    write_json(calibration_path(copy, TARGET), {**known, "fingerprint": "now"})
    return copy


def run(folder: Path, fails: Fails = lambda path: False) -> list[str]:
    """Measure a study anew with a meter that fails on some files; returns what was said."""

    def measure(paths: list[Path]) -> list[Latency]:
        if any(fails(path) for path in paths):
            raise MeasurementError("the timing process died")
        return [NOW for _ in paths]

    session = SimpleNamespace(
        meter=SimpleNamespace(measure=measure, reference=TEACHER),
        runtime=SimpleNamespace(suffix=".onnx"),
        calibration=SimpleNamespace(fingerprint="now"),
    )
    sessions = {TARGET: session}
    context: Any = SimpleNamespace(folder=folder, sessions=sessions, sessions_for=lambda spec: sessions)
    said: list[str] = []
    with closing(TrialStore(folder, "simulated", OBJECTIVES)) as store:
        remeasure(context, store, OBJECTIVES, said.append, lambda: False)
    return said


def trials_of(folder: Path) -> dict[int, Trial]:
    return {trial.number: trial for trial in read_trials(folder, "simulated")}


def worth(folder: Path) -> dict[int, tuple[float, int]]:
    """What no machine changes of the finished models."""
    found = {n: t.measured[TARGET] for n, t in trials_of(folder).items() if t.finished}
    return {n: (file.accuracy, file.size_bytes) for n, file in found.items()}


def of_trial(path: Path, number: int) -> bool:
    return path.parent.name == f"{number:04d}"


def test_a_machine_that_can_measure_nothing_costs_no_trial_however_often_it_is_tried(folder: Path) -> None:
    before = worth(folder)
    for _ in range(3):
        with pytest.raises(MeasurementError, match="neither can the teacher's own file") as caught:
            run(folder, fails=lambda path: True)
        assert "\n" not in str(caught.value) and "run the same command again" in str(caught.value)
        assert worth(folder) == before
    run(folder)
    assert worth(folder) == before and not remeasuring_path(folder).exists()
    assert all(t.measured[TARGET].latency.ratio == NOW.ratio for t in trials_of(folder).values() if t.finished)


def test_a_machine_that_fails_half_way_costs_no_trial(folder: Path) -> None:
    before, seen = worth(folder), list[Path]()

    def short_of_memory(path: Path) -> bool:
        seen.append(path)
        return len(seen) > 3

    for _ in range(3):
        seen.clear()
        with pytest.raises(MeasurementError, match="neither can the teacher's own file"):
            run(folder, fails=short_of_memory)
        assert worth(folder) == before
    anew = [n for n, t in trials_of(folder).items() if t.finished and t.measured[TARGET].latency.ratio == NOW.ratio]
    assert len(anew) == 9, "each run goes on where the one before ended"


def test_a_model_that_alone_cannot_be_measured_fails_when_it_is_tried_again(folder: Path) -> None:
    before = worth(folder)
    bad, gone = list(before)[1:3]
    (folder / "trials" / f"{gone:04d}" / "model.onnx").unlink()
    with pytest.raises(MeasurementError, match=f"2 of {len(before)} .* trial {bad} .*the timing process died"):
        run(folder, fails=lambda path: of_trial(path, bad))
    assert worth(folder) == before
    run(folder, fails=lambda path: of_trial(path, bad))
    after = trials_of(folder)
    assert {n for n, trial in after.items() if trial.finished} == before.keys() - {bad, gone}
    assert after[bad].state is after[gone].state is TrialState.FAILED
    assert "the timing process died" in after[bad].reason and "is gone" in after[gone].reason


def test_a_student_that_waits_fails_in_the_same_way(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = Trial(99, Plan(), StudentSpec(), Origin.SEARCH, "search", TrialState.WAITING, rungs=(0.5,))
    with closing(TrialStore(folder, "simulated", OBJECTIVES)) as store:
        store.begin(waits)

    def time_shape(*_: Any) -> Any:
        raise ExportError("an operator that is not known")

    monkeypatch.setattr(remeasuring, "time_shape", time_shape)
    with pytest.raises(MeasurementError, match=r"1 of .* trial 99"):
        run(folder)
    assert 99 not in trials_of(folder), "it waits still"
    run(folder)
    assert trials_of(folder)[99].state is TrialState.FAILED


@pytest.fixture
def half_way(study: Path, folder: Path) -> tuple[Path, int]:
    """A study whose best model could not be measured anew yet, and the number of that."""
    best = read_front(study).pick().entry.number
    with pytest.raises(MeasurementError):
        run(folder, fails=lambda path: of_trial(path, best))
    return folder, best


def test_no_front_mixes_two_machines_and_that_is_said(
    half_way: tuple[Path, int], caplog: pytest.LogCaptureFixture
) -> None:
    folder, best = half_way
    front = read_front(folder)
    assert set(front.changed) == {best} and best not in {e.number for e in front.entries} and front.entries
    assert front.pick().entry.number != best
    assert all(e.latency.ratio == NOW.ratio for e in front.entries), "all are of one machine"
    (said,) = [record.getMessage() for record in caplog.records if "measured anew" in record.getMessage()]
    assert f"1 of {len(worth(folder))} finished models" in said and "\n" not in said
    run(folder)
    front = read_front(folder)
    assert not front.changed and best in {e.number for e in front.entries}


def test_before_a_study_is_measured_on_the_machine_of_now_nothing_is_shown(half_way: tuple[Path, int]) -> None:
    folder, _ = half_way
    known = read_json(calibration_path(folder, TARGET))
    write_json(calibration_path(folder, TARGET), {**known, "fingerprint": "a third machine"})
    assert not read_front(folder).entries
    begin_remeasuring(folder)
    remeasuring_path(folder).write_text("damaged")
    assert not read_front(folder).entries


def test_scores_on_the_test_split_are_kept_and_no_latency_is(folder: Path) -> None:
    before = trials_of(folder)
    kept, lost = [n for n, t in before.items() if t.finished][:2]
    old = {n: replace(before[n].measured[TARGET].latency, processes=3) for n in (kept, lost)}
    looks = {n: LongLooks((TARGET,), {TARGET: LongLook("of the file", 0.625, old[n], old[n])}) for n in old}
    write_looks(folder, looks)
    write_json(folder / "profiles.json", {TARGET: {"offered": True, "files": {}}})
    begin_remeasuring(folder)
    assert not (folder / "profiles.json").exists(), "shares of layers are of the machine of before"
    for _ in range(2):
        try:
            run(folder, fails=lambda path: of_trial(path, lost))
        except MeasurementError:
            continue
    found = read_looks(folder)
    assert found.keys() == {kept}, "what has failed has no look"
    look = found[kept].files[TARGET]
    assert look.test_accuracy == 0.625 and look.latency.ratio == NOW.ratio and look.anew is None
    entry = next(e for e in read_front(folder).entries if e.number == kept)
    assert entry.test_quality == 0.625 and is_open(entry), "it is looked at longer on this machine too"


def test_plans_that_were_stopped_on_another_machine_may_be_proposed_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = make_problem()
    make_driver(problem, SimulatedExecutor(problem), tmp_path)  # makes the store
    slow = {"here": latency(2 * problem.budget_ms)}
    stopped = Trial(
        5, Plan(), StudentSpec({"c0": 8}), Origin.SEARCH, "search", TrialState.GATED, gate=slow, gate_bytes=1000,
        reason="2 ms or more, over the budget of 1 ms",
    )  # fmt: skip
    failed = Trial(6, Plan(), StudentSpec({"c0": 16}), Origin.SEARCH, "search", TrialState.FAILED, gate=slow)
    context: Any = SimpleNamespace(folder=tmp_path, sessions={})
    with closing(TrialStore(tmp_path, "simulated", OBJECTIVES)) as store:
        for trial in (stopped, failed):
            store.end(trial, None, problem.space)
        begin_remeasuring(tmp_path)
        remeasure(context, store, OBJECTIVES, lambda line: None, lambda: False)
    driver = make_driver(problem, SimulatedExecutor(problem), tmp_path)
    assert [t.state for t in driver.trials] == [TrialState.GATED, TrialState.FAILED]
    assert not any(t.gate for t in driver.trials) and "measured anew" in driver.trials[0].reason
    seen = driver.decisions._proposer._seen
    assert stopped.spec.key() not in seen and failed.spec.key() in seen
    told: list[tuple[Any, ...]] = []
    monkeypatch.setattr(driver.decisions._proposer, "learn", lambda *given: told.append(given))
    driver.decisions._knowledge._learn_from_gated = True
    for trial in (driver.trials[0], stopped):
        driver.decisions._knowledge.learn(trial)
    assert [violation is None for _, _, violation, _ in told] == [True, False], "nothing is learned of it"


def test_what_shapes_took_before_is_forgotten(study: Path, tmp_path: Path) -> None:
    """Machines may be called alike: gates of students that wait would else be those of the machine of before."""
    copy = shutil.copytree(study, tmp_path / "simulated")
    shape = calibration_path(copy, TARGET).parent / "latency" / "abc.json"
    write_json(shape, {})
    begin_remeasuring(copy)
    assert not shape.exists() and not calibration_path(copy, TARGET).exists()
