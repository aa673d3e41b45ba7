"""The statistics of a latency: intervals that hold, disturbances that are noticed, processes enough and no more."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocompress.evaluators.latency import Calibration, LatencyMeter
from autocompress.evaluators.timing import side_by_side
from autocompress.evaluators.timing.agreed import MATERIAL, half_width
from autocompress.evaluators.timing.processes import ModelTimes, ProcessTimes, TimedFile
from autocompress.evaluators.timing.readings import Readings
from autocompress.evaluators.timing.side_by_side import SideBySide
from autocompress.evaluators.timing.spread import student_t_95
from autocompress.evaluators.timing.statistics import (
    Estimate,
    choose_statistic,
    combine,
    common_statistic,
    disturbances,
    log_ratio,
    undisturbed_wall_ms,
)
from autocompress.spaces.target import Target


def _noisy(log_time: float, random: np.random.Generator, drift: np.ndarray, calls: int = 20) -> np.ndarray:
    noise = 0.03 * np.abs(random.standard_normal((len(drift), calls)))
    own = 0.01 * random.standard_normal((len(drift), 1))
    return np.exp(log_time + drift[:, None] + own + noise)


def test_the_interval_of_a_ratio_covers_the_truth() -> None:
    truth, covered, trials = math.log(0.9), 0, 200
    random = np.random.default_rng(0)
    for _ in range(trials):
        drift = np.cumsum(0.02 * random.standard_normal(12))  # what changes slowly falls on both
        estimate = log_ratio(_noisy(truth, random, drift), _noisy(0.0, random, drift), 0.2)
        covered += abs(estimate.log - truth) <= estimate.half_width
    assert covered / trials >= 0.85


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=7), st.floats(0, 0.1))
def test_combined_processes_keep_their_mean_and_never_claim_too_much(logs: list[float], half: float) -> None:
    estimate = combine([Estimate(log, half) for log in logs])
    assert estimate.log == pytest.approx(sum(logs) / len(logs), abs=1e-9)
    assert estimate.half_width >= half / math.sqrt(len(logs)) - 1e-12
    value, low, high = estimate.interval()
    assert low <= value <= high


def test_more_processes_that_agree_narrow_the_interval() -> None:
    widths = [combine([Estimate(0.0, 0.01)] * count).half_width for count in (1, 2, 3, 7)]
    assert widths == sorted(widths, reverse=True)
    assert widths[0] > 0.03


@pytest.mark.parametrize(("freedom", "quantile"), [(3, 3.182), (7, 2.365), (10, 2.228), (100, 1.984)])
def test_student_t(freedom: int, quantile: float) -> None:
    assert student_t_95(freedom) == pytest.approx(quantile, rel=0.01)


def _times(wall: float = 1.0, cpu: float = 1.0, queue: float = 0.0, rounds: int = 9) -> ModelTimes:
    shape = (rounds, 5)
    return ModelTimes(np.full(shape, wall), np.full(shape, cpu), np.full(rounds, queue), 1.0, 1, 1.0)


@pytest.mark.parametrize(
    ("times", "words"),
    [
        (_times(), None),
        (_times(queue=float("nan")), None),
        (_times(queue=0.3), "for a core"),
        (_times(wall=1.5), "CPU time"),
    ],
)
def test_other_work_on_the_machine_is_noticed(times: ModelTimes, words: str | None) -> None:
    statistic = choose_statistic(Target(), synchronous=True)
    found = disturbances(ProcessTimes((_times(), times)), [statistic, statistic])
    # The share is a mean over the files, so one of two waiting shows as half.
    assert [words in line for line in found] == [True] if words else found == []


def test_a_file_whose_cpu_time_means_nothing_is_not_blamed_for_it() -> None:
    cpu, wall = choose_statistic(Target(), True), choose_statistic(Target(threads=2), True)
    process = ProcessTimes((_times(), _times(wall=1.5)))
    assert disturbances(process, [cpu, cpu])
    assert disturbances(process, [cpu, wall]) == []


def test_a_reference_slower_than_when_calibrated_is_noticed() -> None:
    statistic = choose_statistic(Target(), synchronous=True)
    process = ProcessTimes((_times(),))
    assert disturbances(process, [statistic], reference_floor_ms=0.95) == []
    assert "calibrated" in disturbances(process, [statistic], reference_floor_ms=0.8)[0]


def test_medians_come_from_rounds_nothing_disturbed() -> None:
    times = _times()
    times.wall_ms[:3], times.queue_share[:3] = 5.0, 0.5
    assert undisturbed_wall_ms(times, choose_statistic(Target(), True)).max() == 1.0


def test_cpu_time_counts_only_where_it_means_something() -> None:
    assert choose_statistic(Target(), True).clock == "cpu"
    for target, synchronous in ((Target(threads=2), True), (Target(device="cuda"), True), (Target(), False)):
        assert choose_statistic(target, synchronous).clock == "wall"


def test_two_files_are_compared_by_cpu_time_only_where_it_means_something_for_both() -> None:
    cpu, wall = choose_statistic(Target(), True), choose_statistic(Target(device="cuda"), True)
    assert common_statistic(cpu, cpu) == cpu
    assert {common_statistic(*pair).clock for pair in ((cpu, wall), (wall, cpu), (wall, wall))} == {"wall"}


def _readings(middle: float, threads: int, calls: int = 20, processes: int = 3) -> Readings:
    """A candidate of half the reference's least time, whose noise is so many times as wide."""
    random = np.random.default_rng(0)

    def times(scale: float, wide: float) -> ModelTimes:
        wall = scale * (1 + 0.03 * wide * np.abs(random.standard_normal((calls, calls))))
        return ModelTimes(wall, wall, np.zeros(calls), 1.0, 1, 1.0)

    file = TimedFile(Path("made-up.onnx"), Target(threads=threads))
    statistic = choose_statistic(file.target, synchronous=True)
    runs = tuple(ProcessTimes((times(1.0, 1.0), times(0.5, middle))) for _ in range(processes))
    return Readings((file, file), (statistic, statistic), runs, ({}, {}), peaks_mb=(None, None))


CALIBRATION = Calibration(2.0, 1.9, 2.1, 2.0, 3, False, "here")


@pytest.mark.parametrize("threads", [1, 2])
def test_a_median_that_low_quantiles_do_not_tell_is_noticed(threads: int) -> None:
    """With several threads a small file has a far heavier middle than a large one."""
    meter, calibration = LatencyMeter(Target(threads=threads), Path("made-up.onnx")), CALIBRATION

    def statistic(readings: Readings) -> str:
        return str(meter._latency(readings, 1, calibration).conditions["statistic"])

    assert "50% quantile" not in statistic(_readings(1.0, threads))
    heavy = _readings(8.0, threads)
    assert "50% quantile" in statistic(heavy)
    truth = math.log(0.5 * (1 + 8 * 0.0202) / (1 + 0.0202))
    estimate = heavy.median_ratio(1)
    assert abs(estimate.log - truth) <= estimate.half_width
    assert heavy.ratio(1).log < truth - 0.05, "which is what p50 was before"


def test_medians_that_may_tell_another_ratio_make_it_unsure() -> None:
    """A few calls do not show that medians and low quantiles agree."""
    few = _readings(8.0, 2, calls=3, processes=1)
    apart = few.difference(1)
    assert MATERIAL < abs(apart.log) <= apart.half_width, "it is not shown that they differ"
    found = LatencyMeter(Target(threads=2), Path("made-up.onnx"))._latency(few, 1, CALIBRATION)
    assert found.ratio == pytest.approx(math.exp(few.ratio(1).log))
    half = math.log(found.ratio_high / found.ratio_low) / 2
    assert half == pytest.approx(math.hypot(few.ratio(1).half_width, apart.log))
    assert half_width(few) == pytest.approx(half), "a precision is asked of the interval that is reported"


# What a measurement carries


# How many processes


def _sure(half: float) -> ProcessTimes:
    """A process whose files differ from round to round by about `half`."""
    wall = np.exp(np.random.default_rng(0).normal(0, half, (12, 5)))
    return ProcessTimes((_times(rounds=12), replace(_times(rounds=12), wall_ms=wall, cpu_ms=wall)))


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The processes that a measurement of two files takes, when each is as unsure as said."""

    def count(half: float, processes: int, **asked: float) -> int:
        started: list[int] = []

        def run(_: SideBySide, index: int, *__: int) -> ProcessTimes:
            started.append(index)
            return _sure(half)

        monkeypatch.setattr(SideBySide, "_run", run)
        monkeypatch.setattr(SideBySide, "_peaks_mb", lambda *_: (1.0, 1.0))
        monkeypatch.setattr(side_by_side, "disturbances", lambda *_: [])
        file = TimedFile(Path("made-up.onnx"), Target())
        SideBySide((file, file), seconds=1.0).take(processes, **asked)
        return len(started)

    return count


def test_processes_are_added_until_the_precision_is_reached_or_cannot_be(counted: Callable[..., int]) -> None:
    assert counted(0.001, 3) == 3
    assert counted(0.001, 3, until=0.05) == 3
    assert counted(0.001, 1, until=0.02) > 1
    assert counted(0.2, 3, until=0.001) == side_by_side.MOST_PROCESSES
    assert counted(0.2, 9, until=0.001) == 9


def test_no_process_but_the_first_starts_after_the_time_limit(counted: Callable[..., int]) -> None:
    assert counted(0.2, 3, until=0.001, limit_seconds=0) == 1
