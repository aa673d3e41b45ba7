"""Latency of files on this machine, comparable between hours: each measured beside one fixed reference file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..errors import ConditionsChanged, MeasurementError
from ..spaces.target import Target
from .measurement import Latency
from .timing.agreed import agreed_ratio
from .timing.host import HERE, TimingHost
from .timing.machine import changes, fingerprint
from .timing.moments import Sight, Watch, known_drift, typical
from .timing.processes import TimedFile
from .timing.readings import Readings, compare
from .timing.side_by_side import SideBySide
from .timing.spread import PRIOR_FREEDOM, Spread
from .timing.statistics import Estimate
from .timing.tails import CALLS


@dataclass(frozen=True)
class Calibration:
    """The reference's own time at a typical moment.

    Attributes:
        p50_ms: Median wall time of one inference.
        low_ms: Lower end of its 95 % interval.
        high_ms: Upper end of that interval.
        floor_ms: The statistic by which files are compared.
        processes: Fresh processes it was measured in.
        disturbed: Whether other work was seen on the machine's cores meanwhile.
        fingerprint: Of the conditions; see `machine.fingerprint`.
        conditions: The machine as it was.
        moments: Moments at which the reference was seen; see `timing.moments`.
        drift: Standard deviation of its log-median between moments, as far as it is known.
        spread: How much the log-ratio of the reference to a second session of itself differed between processes.
    """

    p50_ms: float
    low_ms: float
    high_ms: float
    floor_ms: float
    processes: int
    disturbed: bool
    fingerprint: str
    conditions: Mapping[str, Any] = field(default_factory=dict)
    moments: int = 1
    drift: float = 0.0
    spread: Spread = field(default_factory=Spread)

    @property
    def estimate(self) -> Estimate:
        """The logarithm of the median, with its interval."""
        return Estimate(math.log(self.p50_ms), math.log(self.high_ms / self.low_ms) / 2)

    def seen_again(self, sights: Sequence[Sight], machine: Spread | None = None) -> Calibration:
        """Return the calibration as all that was seen of the reference says.

        Args:
            sights: Of the reference; where there are none, the calibration stays as it is.
            machine: How much references differed between moments on this machine before.
        """
        if not sights:
            return self
        found = typical(sights, machine)
        width = math.exp(found.half_width)
        return replace(
            self,
            p50_ms=found.p50_ms,
            low_ms=found.p50_ms / width,
            high_ms=found.p50_ms * width,
            floor_ms=found.floor_ms,
            disturbed=found.disturbed,
            moments=found.moments,
            drift=found.drift,
        )


@dataclass(frozen=True)
class LatencyMeter:
    """Measures files on a target, beside a reference.

    Attributes:
        target: Where the files run.
        reference: The file that all others are compared with.
        calibration: The reference's own time, None before it was measured.
        precision: Half-width of the 95 % interval of the log-ratio at which one process stops early.
        host: The machine that times files.
        seed: Of the order of the rounds.
        inputs: A file of real inputs that files are timed on; see `TimedFile`.
        watch: Takes what the reference took in every process, None to keep nothing.
    """

    target: Target
    reference: Path
    calibration: Calibration | None = None
    precision: float = 0.02
    host: TimingHost = HERE
    seed: int = 0
    inputs: Path | None = None
    watch: Watch | None = None

    @classmethod
    def calibrated(
        cls,
        target: Target,
        reference: Path,
        precision: float = 0.02,
        inputs: Path | None = None,
        watch: Watch | None = None,
        host: TimingHost = HERE,
    ) -> LatencyMeter:
        """Return a meter that has just calibrated itself; see the class, and `calibrate` for what it raises."""
        meter = cls(target, reference, precision=precision, host=host, inputs=inputs, watch=watch)
        return replace(meter, calibration=meter.calibrate())

    def conditions(self) -> dict[str, Any]:
        """Return the machine that times files as it is now; see `machine.conditions`."""
        return self.host.conditions(self.target)

    def is_current(self) -> bool:
        """Return whether the calibration holds for the machine as it is now."""
        return self.calibration is not None and self.calibration.fingerprint == fingerprint(self.conditions())

    def what_changed(self) -> str:
        """Return how the machine differs from what it was when it was calibrated, in words."""
        if self.calibration is None:
            return "it was not calibrated"
        return changes(self.calibration.conditions, self.conditions()) or "their record"

    def calibrate(self, processes: int = 6, max_seconds: float = 2.0) -> Calibration:
        """Time the reference beside a second session of itself in fresh processes, once more for each disturbed one.

        The ratio of the two is 1 but for what differs between processes: that is how much it differs.

        Args:
            processes: Fresh processes, one after the other.
            max_seconds: Of timing in each.

        Raises:
            MeasurementError: The reference cannot be timed.
            RuntimeUnavailable: The runtime cannot run here.
        """
        readings = self._beside((self.reference,), max_seconds).take(processes, peaks=False)
        self._watch(readings)
        twins = [compare(run.models[1], run.reference, readings.statistics[0]).log for run in readings.runs]
        p50_ms, low_ms, high_ms = readings.p50(0).interval()
        now = self.conditions()
        begun = Calibration(
            p50_ms=p50_ms,
            low_ms=low_ms,
            high_ms=high_ms,
            floor_ms=float(np.median([readings.statistics[0].floor_ms(times) for times in readings.times(0)])),
            processes=len(readings.runs),
            disturbed=bool(readings.troubles),
            fingerprint=fingerprint(now),
            conditions=readings.conditions(0),
            spread=Spread.between(twins, truth=0.0),
        )
        return begun.seen_again(readings.sights, known_drift(now))

    def seen(self) -> Calibration:
        """Return the calibration as all that was seen of the reference since says, here and in other processes.

        Raises:
            MeasurementError: The meter was never calibrated.
        """
        calibration = self._calibration()
        sights = self.watch.read() if self.watch else []
        return calibration.seen_again(sights, known_drift(dict(calibration.conditions)))

    def measure(
        self,
        paths: Sequence[Path],
        processes: int = 1,
        max_seconds: float = 1.0,
        until: float | None = None,
        limit_seconds: float | None = None,
        percentile: int = 50,
    ) -> list[Latency]:
        """Measure files, which take turns in the same rounds.

        Processes that were disturbed are run once more, twice as long; if that is no better, the result counts all of
        them and is marked disturbed.

        Args:
            paths: The files.
            processes: Fresh processes, one after the other; the interval shrinks with their number.
            max_seconds: Of timing per file and process.
            until: Half-width of the 95 % interval to reach for every ratio, by more processes (up to
                `side_by_side.MOST_PROCESSES`). Whether it was reached is in the ratios' intervals.
            limit_seconds: No process but the first starts later.
            percentile: That is to be known with an interval; a high one takes more inferences.

        Returns:
            Their latencies, in their order. `p50_ms` is the ratio times the reference's median at a typical moment. The
            ratio is that of low quantiles, which other work disturbs least; where the medians of wall time disagree
            with it, as with several threads they may, it is that of the medians.

        Raises:
            MeasurementError: A file cannot be timed, or the meter is not calibrated.
            ConditionsChanged: The meter is calibrated for another machine than this is now.
            RuntimeUnavailable: The runtime cannot run here.
        """
        calibration = self._calibration()
        if not self.is_current():
            raise ConditionsChanged(
                f"{self.reference}: calibrated under other conditions than now: {self.what_changed()}; put it back, or "
                "calibrate again"
            )
        # one process is a quick look: it is not worth another for the memory of what it loaded second
        beside = self._beside(paths, max_seconds * len(paths), CALLS[percentile])
        readings = beside.take(processes, until, limit_seconds, peaks=processes > 1)
        self._watch(readings)
        return [self._latency(readings, index, calibration) for index in range(1, len(paths) + 1)]

    def _latency(self, readings: Readings, index: int, calibration: Calibration) -> Latency:
        ratio, changed = agreed_ratio(readings, index)
        reference = calibration.estimate
        p50 = Estimate(ratio.log + reference.log, math.hypot(ratio.half_width, reference.half_width))
        found = readings.latency(index, p50, ratio)
        return marked(replace(found, conditions={**found.conditions, **changed}), calibration)

    def _calibration(self) -> Calibration:
        if self.calibration is None:
            raise MeasurementError(f"{self.reference}: the meter is not calibrated; call calibrate() first")
        return self.calibration

    def _watch(self, readings: Readings) -> None:
        # what the reference takes on another machine says nothing of the one that is calibrated
        if self.watch is not None and readings.facts[0].get("host") == self._calibrated_on:
            self.watch.add(readings.sights)

    @property
    def _calibrated_on(self) -> str:
        """Name of the machine whose milliseconds these are; the host's own before it was calibrated."""
        return str((self.calibration and self.calibration.conditions.get("host")) or self.host.name)

    def _beside(self, paths: Sequence[Path], seconds: float, calls: int = 0) -> SideBySide:
        return SideBySide(
            tuple(TimedFile(path, self.target, self.inputs) for path in (self.reference, *paths)),
            seconds,
            precision=self.precision,
            host=self.host,
            seed=self.seed,
            floor_ms=self.calibration.floor_ms if self.calibration and self._calibrated_on == self.host.name else None,
            # one network beside itself says something of another network, and not as much as that one's own processes
            spread=self.calibration.spread.capped(PRIOR_FREEDOM) if self.calibration else Spread(),
            calls=calls,
        )


CALIBRATED_DISTURBED = "other work ran while the teacher was calibrated"
"""What disturbs all milliseconds of a study, as long as its calibration is disturbed."""
DISTURBED_BEFORE = "other work ran while it was measured"
"""Of a latency that an older version measured, which did not say more."""


def own_disturbances(latency: Latency) -> list[str]:
    """Return what disturbed the processes of a latency, in words, without what disturbed the calibration."""
    return [words for words in latency.conditions.get("disturbances") or () if words != CALIBRATED_DISTURBED]


def marked(latency: Latency, calibration: Calibration) -> Latency:
    """Return a latency as disturbed if its own processes were, or the calibration that its milliseconds hang on."""
    said = latency.conditions.get("disturbances")
    if said is None and not calibration.disturbed:
        return latency  # of an older version, which did not say what disturbed it
    own = [DISTURBED_BEFORE] if said is None and latency.disturbed else own_disturbances(latency)
    words = [*own, *([CALIBRATED_DISTURBED] if calibration.disturbed else [])]
    return replace(latency, disturbed=bool(words), conditions={**latency.conditions, "disturbances": words})


def in_scale(latency: Latency, calibration: Calibration) -> Latency:
    """Return a latency with the milliseconds that its ratio means by today's calibration."""
    p50_ms = latency.ratio * calibration.p50_ms
    ratio = math.log(latency.ratio_high / latency.ratio_low) / 2
    width = math.exp(math.hypot(ratio, calibration.estimate.half_width))
    factor = p50_ms / latency.p50_ms
    ends = (latency.p50_ms, latency.low_ms, latency.high_ms)
    if np.allclose(ends, (p50_ms, p50_ms / width, p50_ms * width), rtol=1e-9, atol=0):
        return marked(latency, calibration)
    tails = {name: getattr(latency, name) * factor for name in ("p90_ms", "p95_ms", "p99_ms", "mean_ms")}
    scaled = replace(latency, p50_ms=p50_ms, low_ms=p50_ms / width, high_ms=p50_ms * width, **tails)
    return marked(scaled, calibration)


def is_faster(a: Latency, b: Latency) -> Literal["faster", "slower", "tie"]:
    """Return how `a` compares with `b`, by their ratios to the same reference: a tie if the intervals overlap."""
    if a.ratio_high < b.ratio_low:
        return "faster"
    return "slower" if a.ratio_low > b.ratio_high else "tie"
