"""Confirming a front where files cannot be measured, or take long to load. Nothing is really measured."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from simulated_study import TARGET, write_study

from autocompress.errors import MeasurementError
from autocompress.evaluators.measurement import Latency
from autocompress.search.report import confirm as confirming
from autocompress.search.report.confirm import PROCESSES, by_weight, candidates, confirm, is_open, seconds_needed
from autocompress.search.report.front import Front
from autocompress.search.report.looks import read_looks
from autocompress.search.report.reading import read_front

SCORE, GROUP = 0.75, 2


@dataclass
class SimulatedMeter:
    """A meter that measures nothing: a clock says what its processes would take.

    Attributes:
        fails: Tells of files that take turns in a process whether it dies.
        process_s: Seconds that a process takes, beside loading.
        load_s: Seconds that loading one file takes.
        clock_s: Seconds so far.
        latencies: What each trial's file takes.
        measured: The numbers of trials that were measured together, with what else was asked.
    """

    fails: Callable[[Sequence[int]], bool] = lambda numbers: False
    process_s: float = 1.0
    load_s: float = 0.0
    clock_s: float = 0.0
    latencies: dict[int, Latency] = field(default_factory=dict)
    measured: list[tuple[tuple[int, ...], dict[str, Any]]] = field(default_factory=list)
    precision: float = 0.02

    def measure(
        self, paths: Sequence[Path], processes: int = 1, limit_seconds: float | None = None, **asked: Any
    ) -> list[Latency]:
        numbers = tuple(int(path.parent.name) for path in paths)
        self.measured.append((numbers, asked))
        ends_s = math.inf if limit_seconds is None else self.clock_s + limit_seconds
        started = 0
        for _ in range(processes):
            if not started or self.clock_s < ends_s:
                self.clock_s += self.process_s + self.load_s * len(paths)
                started += 1
        if self.fails(numbers):
            raise MeasurementError("the timing process died")
        return [replace(self.latencies[number], processes=started) for number in numbers]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("confirm") / "simulated", 40).folder


@pytest.fixture
def front(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Front:
    """A study whose models were not confirmed, more than are measured side by side."""
    monkeypatch.setattr(confirming, "SIDE_BY_SIDE", GROUP)
    found = read_front(shutil.copytree(study, tmp_path / "simulated"))
    assert len(candidates(found)) > GROUP + 1
    return found


@pytest.fixture
def confirmed(front: Front, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Front, list[str]]]:
    """Confirm the front with a meter, within seconds: the front then, and what was said."""

    def run(meter: SimulatedMeter, seconds: float | None = None, score: Any = lambda *_: SCORE) -> Any:
        monkeypatch.setattr(confirming, "file_accuracy", score)
        monkeypatch.setattr(confirming, "time", SimpleNamespace(monotonic=lambda: meter.clock_s))
        said: list[str] = []
        end_s = None if seconds is None else meter.clock_s + seconds
        return confirm(context_of(front, meter), front, said.append, end_s), said

    return run


def context_of(front: Front, meter: SimulatedMeter) -> Any:
    meter.latencies = {entry.number: entry.trial.measured[TARGET].latency for entry in front.entries}
    session = SimpleNamespace(name=TARGET, meter=meter, runtime=None, target=SimpleNamespace(batch=1000))
    return SimpleNamespace(folder=front.folder, task=SimpleNamespace(test=[0] * 10), sessions={TARGET: session})


def test_files_that_do_not_fit_into_one_process_are_measured_one_by_one(
    front: Front, confirmed: Callable[..., tuple[Front, list[str]]]
) -> None:
    meter = SimulatedMeter(fails=lambda numbers: len(numbers) > 1)
    found, said = confirmed(meter)
    shown = candidates(found)
    assert len(shown) > GROUP and not any(is_open(entry) for entry in shown)
    assert all(entry.test_quality == SCORE for entry in shown)
    assert any("one by one" in line and "the timing process died" in line for line in said)
    assert {n for n, look in read_looks(front.folder).items() if look.confirmed} >= {e.number for e in shown}


def test_a_file_that_cannot_be_measured_again_is_left_open_alone(
    front: Front, confirmed: Callable[..., tuple[Front, list[str]]]
) -> None:
    bad = candidates(front)[2].number
    found, said = confirmed(SimulatedMeter(fails=lambda numbers: bad in numbers))
    left = {entry.number for entry in candidates(found) if is_open(entry)}
    assert left <= {bad} and bad not in found.confirmed and len(found.confirmed) > GROUP
    (line,) = [line for line in said if line.startswith(f"trial {bad} ")]
    assert "the timing process died" in line and not any("no time was left" in each for each in said)
    again, _ = confirmed(SimulatedMeter())
    assert bad in again.confirmed, "the next run tries it again"


def test_a_file_that_cannot_be_scored_is_left_open_alone(
    front: Front, confirmed: Callable[..., tuple[Front, list[str]]]
) -> None:
    bad = candidates(front)[2].number

    def score(context: Any, session: Any, path: Path, data: Any) -> float:
        if int(path.parent.name) == bad:
            raise MeasurementError("out of memory")
        return SCORE

    found, said = confirmed(SimulatedMeter(), score=score)
    assert bad not in found.confirmed and len(found.confirmed) > GROUP
    assert any(f"trial {bad} could not be scored" in line and "out of memory" in line for line in said)


def test_a_choice_that_cannot_be_measured_anew_stays_chosen(
    front: Front, confirmed: Callable[..., tuple[Front, list[str]]]
) -> None:
    meter = SimulatedMeter()
    meter.fails = lambda numbers: "until" not in meter.measured[-1][1]
    found, said = confirmed(meter)
    best = found.fitting[0]
    assert not is_open(best) and best.confirmed is not None and not best.confirmed.anew
    assert any(f"trial {best.number} could not be measured anew" in line for line in said)
    again, _ = confirmed(SimulatedMeter())
    assert again.fitting[0].confirmed is not None and again.fitting[0].confirmed.anew


@pytest.mark.parametrize("seconds", [None, 1e6])
@pytest.mark.parametrize("process_s", [1.0, 46.0, 400.0])
def test_models_that_take_long_to_load_are_confirmed_where_there_is_time(
    confirmed: Callable[..., tuple[Front, list[str]]], seconds: float | None, process_s: float
) -> None:
    found, said = confirmed(SimulatedMeter(process_s=process_s), seconds)
    shown = candidates(found)
    assert not any(is_open(entry) for entry in shown) and not any("no time was left" in line for line in said)
    assert {entry.latency.processes for entry in shown} == {PROCESSES}


def test_models_that_take_longer_to_load_than_there_is_time_are_said_to_be_left(
    confirmed: Callable[..., tuple[Front, list[str]]],
) -> None:
    found, said = confirmed(SimulatedMeter(process_s=46.0), 60.0)
    assert any(is_open(entry) for entry in candidates(found))
    assert "no time was left to confirm" in said[-1]


def test_a_model_that_takes_too_long_to_score_keeps_no_other_waiting(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the teacher may, of which there is one: no run of a study would else come to confirm a model."""
    assert front.teacher is not None
    slow, trials = front.teacher.number, []
    for trial in front.trials:
        file = trial.measured.get(TARGET)
        if trial.number == slow and file is not None:
            latency = replace(file.latency, load_ms=1e6)
            trial = replace(trial, measured={TARGET: replace(file, latency=latency)})
        trials.append(trial)
    monkeypatch.setattr(confirming, "time", SimpleNamespace(monotonic=lambda: 0.0))
    waiting, context = by_weight(replace(front, trials=tuple(trials))), context_of(front, SimulatedMeter())
    in_time = [entry.number for entry in confirming._in_time(waiting, 10, context, 1e3)]
    assert in_time == [entry.number for entry in waiting if entry.number != slow]


def test_time_to_load_is_kept_back_and_spent(
    front: Front, confirmed: Callable[..., tuple[Front, list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it is known from the gate, nothing is measured twice for want of time."""
    load_s = 40.0
    meter = SimulatedMeter(load_s=load_s)
    before = seconds_needed(context_of(front, meter), front)
    trials = []
    for trial in front.trials:
        measured = {
            name: replace(file, latency=replace(file.latency, load_ms=1000 * load_s))
            for name, file in trial.measured.items()
        }
        trials.append(replace(trial, measured=measured))
    slow = replace(front, trials=tuple(trials))
    after = seconds_needed(context_of(slow, meter), slow)
    files = len(candidates(front))
    for least, more in zip(before, after, strict=True):
        assert more - least == pytest.approx(files * PROCESSES * load_s, rel=0.01)
    monkeypatch.setattr(confirming, "file_accuracy", lambda *_: SCORE)
    monkeypatch.setattr(confirming, "time", SimpleNamespace(monotonic=lambda: meter.clock_s))
    found = confirm(context_of(slow, meter), slow)
    assert not any(is_open(entry) for entry in candidates(found))
    assert sum("until" not in asked for _, asked in meter.measured) == 1, "the choice alone, anew"
