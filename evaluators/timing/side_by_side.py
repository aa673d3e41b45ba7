"""How many timing processes a measurement takes."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from .agreed import half_width
from .host import HERE, AnotherMachine, TimingHost
from .moments import Sight, now_s
from .processes import ProcessTimes, TimedFile, TimingRequest
from .readings import Readings, statistic_of
from .spread import Spread
from .statistics import Statistic, disturbances, undisturbed_wall_ms

MOST_PROCESSES = 7
"""Processes at most when a precision is asked for, unless more are asked for outright."""
TIMES_AGAIN = 1
"""How often a process that was disturbed is run once more."""


@dataclass(frozen=True)
class SideBySide:
    """Times files beside the first of them, in fresh processes.

    Attributes:
        files: The files, each with where it runs.
        seconds: Of timing in each process.
        precision: Half-width of the 95 % interval of the log-ratio at which one process stops early.
        host: The machine that times them.
        seed: Of the order of the rounds.
        floor_ms: The first file's statistic when it was calibrated, None if it never was.
        spread: How much log-ratios differed between processes before.
        calls: Timed inferences of each file in all processes together, at least; see `tails.CALLS`.
    """

    files: tuple[TimedFile, ...]
    seconds: float
    precision: float = 0.02
    host: TimingHost = HERE
    seed: int = 0
    floor_ms: float | None = None
    spread: Spread = field(default_factory=Spread)
    calls: int = 0

    def take(
        self, processes: int, until: float | None = None, limit_seconds: float | None = None, peaks: bool = True
    ) -> Readings:
        """Time the files in fresh processes, and once more, twice as long, for each that was disturbed.

        Args:
            processes: Fresh processes at least.
            until: Half-width that the widest 95 % interval (see `agreed.half_width`) is to have; while it is wider,
                a process is added, up to MOST_PROCESSES in all.
            limit_seconds: No process but the first starts later.
            peaks: Whether to start a process more for the peak memory of a file that no process loaded first.

        Returns:
            The undisturbed processes if they are as many as asked for, else all.

        Raises:
            MeasurementError: A file cannot be timed.
            RuntimeUnavailable: A runtime cannot run here.
        """
        while True:
            with contextlib.suppress(AnotherMachine), self.host.chosen() as host:
                return self._on(host)._take(processes, until, limit_seconds, peaks)

    def _on(self, host: TimingHost) -> SideBySide:
        # what the first file was like when it was calibrated says nothing of another machine
        if host.name == self.host.name:
            return replace(self, host=host)
        return replace(self, host=host, floor_ms=None, spread=Spread())

    def _take(self, processes: int, until: float | None, limit_seconds: float | None, peaks: bool) -> Readings:
        ends = time.monotonic() + (float("inf") if limit_seconds is None else limit_seconds)
        facts = tuple(self.host.conditions(file.target) for file in self.files)
        if facts[0].get("host", self.host.name) != self.host.name:  # another machine took its place
            self = replace(self, floor_ms=None, spread=Spread())
        statistics = tuple(statistic_of(file) for file in self.files)
        runs: list[ProcessTimes] = []
        sights: list[Sight] = []

        def troubles(runs: Sequence[ProcessTimes]) -> list[str]:
            return [words for run in runs for words in disturbances(run, statistics, self.floor_ms)]

        def given() -> Readings:
            undisturbed = [run for run in runs if not troubles([run])]
            chosen = undisturbed if len(undisturbed) >= processes else runs
            said = tuple(troubles(chosen))
            return Readings(self.files, statistics, tuple(chosen), facts, said, spread=self.spread)

        def time_more(count: int, times_as_long: int = 1) -> None:
            for _ in range(count):
                if not runs or time.monotonic() < ends:
                    runs.append(self._run(len(runs), times_as_long, math.ceil(self.calls / processes)))
                    own = disturbances(runs[-1], statistics)
                    sights.append(_sight(runs[-1], statistics[0], bool(own)))

        time_more(processes)
        again = TIMES_AGAIN * sum(bool(troubles([run])) for run in runs)
        time_more(again, times_as_long=2)
        if until is not None:
            while len(runs) < max(MOST_PROCESSES, processes) + again and half_width(given()) > until:
                if time.monotonic() >= ends:
                    break
                time_more(1)
        readings = given()
        return replace(readings, peaks_mb=self._peaks_mb(runs, peaks), sights=tuple(sights))

    def _run(self, index: int, times_as_long: int, min_calls: int) -> ProcessTimes:
        request = TimingRequest(
            self.files,
            precision=self.precision,
            min_rounds=TimingRequest.min_rounds * times_as_long,
            max_rounds=TimingRequest.max_rounds * times_as_long,
            max_seconds=self.seconds * times_as_long,
            seed=self.seed + index,
            min_calls=min_calls,
        )
        # the machine is kept quiet for each process: a training waits a second at a time rather than for all of them
        return self.host.time(request)

    def _peaks_mb(self, runs: Sequence[ProcessTimes], more: bool) -> tuple[float | None, ...]:
        # of each file, from a process that loaded it first; if none did, from one of its own, if more may be started
        peaks = []
        for index, file in enumerate(self.files):
            known = [run.models[index].peak_memory_mb for run in runs]
            if more and all(peak is None for peak in known):
                known = [self.host.time(TimingRequest((file,), max_rounds=0)).reference.peak_memory_mb]
            peaks.append(max((peak for peak in known if peak is not None), default=None))
        return tuple(peaks)


def _sight(run: ProcessTimes, statistic: Statistic, disturbed: bool) -> Sight:
    wall = undisturbed_wall_ms(run.reference, statistic)
    return Sight(now_s(), float(np.median(wall)), statistic.floor_ms(run.reference), disturbed)
