"""Which front is better: hypervolumes over one reference point, and what dominates what, beyond noise or not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ....errors import UsageError
from ....studies.metric import MetricLabel
from ...pareto import hypervolume, non_dominated
from ..intervals import Z95
from .baseline import Baseline
from .record import Record

RESAMPLES = 200


@dataclass(frozen=True)
class Point:
    """One model that is compared.

    Attributes:
        name: "trial 3" or a baseline's name.
        quality: Its metric, higher is better.
        metric_half: Half of the metric's 95 % interval, 0 where none is known.
        ms: Median latency.
        low_ms: Lower end of its interval, the median where none is known.
        high_ms: Upper end of it.
    """

    name: str
    quality: float
    metric_half: float
    ms: float
    low_ms: float
    high_ms: float

    def dominates(self, other: Point) -> bool:
        """Tell whether it is nowhere worse and somewhere better, by the figures as they are."""
        nowhere_worse = self.quality >= other.quality and self.ms <= other.ms
        return nowhere_worse and (self.quality > other.quality or self.ms < other.ms)

    def surely_dominates(self, other: Point) -> bool:
        """Tell whether it dominates, and one of its two advantages is beyond the noise of both."""
        better = self.quality - other.quality > math.hypot(self.metric_half, other.metric_half)
        return self.dominates(other) and (better or self.high_ms < other.low_ms)


@dataclass(frozen=True)
class Contender:
    """A front that is compared.

    Attributes:
        name: Of the study, or of the file of baselines.
        points: The models on its front.
        models: How many models it has in all.
    """

    name: str
    points: tuple[Point, ...]
    models: int


@dataclass(frozen=True)
class Volume:
    """The hypervolume of a front.

    Attributes:
        name: Of the contender.
        value: As a share of the box between the reference point and the best of each figure.
        low: Lower end of its 95 % band.
        high: Upper end of it.
    """

    name: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Dominance:
    """What one front has on another.

    Attributes:
        winner: Name of the one.
        loser: Name of the other.
        dominated: Models on the other's front that some model of the one dominates.
        surely: Those of them that it dominates beyond noise.
        of: Models on the other's front.
    """

    winner: str
    loser: str
    dominated: int
    surely: int
    of: int


@dataclass(frozen=True)
class Comparison:
    """How fronts compare.

    Attributes:
        volumes: Of each contender.
        dominance: Of each ordered pair.
        sentences: The same in words.
        warnings: Why figures may not compare.
    """

    volumes: tuple[Volume, ...]
    dominance: tuple[Dominance, ...]
    sentences: tuple[str, ...]
    warnings: tuple[str, ...]


def contender_of(record: Record, name: str) -> Contender:
    """Return a study's front, on its first target."""
    points = []
    for entry in record.front.entries:
        interval = record.metric_interval(entry.quality, sd=entry.quality_sd)
        half = 0.0 if interval is None else (interval[1] - interval[0]) / 2
        at = entry.reported_latency
        points.append(Point(f"trial {entry.number}", entry.quality, half, at.p50_ms, at.low_ms, at.high_ms))
    return _contender(name, points)


def contender_of_baselines(baselines: Sequence[Baseline], metric: MetricLabel, name: str) -> Contender:
    """Return models that were measured elsewhere."""
    points = []
    for one in baselines:
        ms, low, high = one.figures["latency_ms"], one.get("metric_low"), one.get("metric_high")
        half = 0.0 if low is None or high is None else abs(high - low) / 2
        ends = one.get("latency_low_ms") or ms, one.get("latency_high_ms") or ms
        points.append(Point(one.name, metric.kept(one.figures["metric"]), half, ms, *ends))
    return _contender(name, points)


def _contender(name: str, points: Sequence[Point]) -> Contender:
    best = non_dominated([[-p.quality, p.ms] for p in points])
    return Contender(name, tuple(points[i] for i in best), len(points))


def compare(contenders: Sequence[Contender], records: Sequence[Record]) -> Comparison:
    """Return how fronts compare.

    Args:
        contenders: The fronts.
        records: The studies among them.
    """
    volumes = _volumes(contenders)
    dominance = tuple(_dominance(a, b) for a in contenders for b in contenders if a is not b)
    return Comparison(volumes, dominance, tuple(_sentences(volumes, dominance)), tuple(_warnings(records)))


def check_alike(records: Sequence[Record]) -> None:
    """Refuse studies that are judged by different metrics.

    Raises:
        UsageError: They are.
    """
    for record in records[1:]:
        if record.metric != records[0].metric:
            raise UsageError(
                f"{record.name} is judged by {record.metric.name} ({record.metric.direction}), {records[0].name} by "
                f"{records[0].metric.name} ({records[0].metric.direction}): compare studies with one metric"
            )


def _volumes(contenders: Sequence[Contender]) -> tuple[Volume, ...]:
    every = [p for c in contenders for p in c.points]
    if not every:
        return tuple(Volume(c.name, 0.0, 0.0, 0.0) for c in contenders)
    worst, slowest = min(p.quality for p in every), max(p.ms for p in every)
    box = (max(p.quality for p in every) - worst) * slowest
    reference = (-worst + 1e-12, slowest * (1 + 1e-12))

    def volume(points: np.ndarray) -> float:
        return hypervolume(points.tolist(), reference) / box if box > 0 and len(points) else 0.0

    found = []
    for contender in contenders:
        points = np.array([[-p.quality, p.ms] for p in contender.points]).reshape(-1, 2)
        spread = [[p.metric_half / Z95, (p.high_ms - p.low_ms) / (2 * Z95)] for p in contender.points]
        noise = np.random.default_rng(0).standard_normal((RESAMPLES, *points.shape)) * np.array(spread).reshape(-1, 2)
        half = Z95 * float(np.std([volume(points + n) for n in noise]))
        value = volume(points)
        found.append(Volume(contender.name, value, max(0.0, value - half), min(1.0, value + half)))
    return tuple(found)


def _dominance(winner: Contender, loser: Contender) -> Dominance:
    beaten = [p for p in loser.points if any(q.dominates(p) for q in winner.points)]
    surely = [p for p in beaten if any(q.surely_dominates(p) for q in winner.points)]
    return Dominance(winner.name, loser.name, len(beaten), len(surely), len(loser.points))


def _sentences(volumes: Sequence[Volume], dominance: Sequence[Dominance]) -> list[str]:
    order = sorted(volumes, key=lambda v: -v.value)
    found = []
    if len(order) > 1:
        first, second = order[:2]
        noise = math.hypot(first.value - first.low, second.high - second.value)
        clear = first.value - second.value > noise
        if first.value == second.value:
            found.append(f"{first.name} and {second.name} have the same hypervolume: {first.value:.3f}.")
        else:
            found.append(
                f"{first.name} has the larger hypervolume: {first.value:.3f} ({first.low:.3f} to {first.high:.3f}) "
                f"against {second.value:.3f} ({second.low:.3f} to {second.high:.3f}) of {second.name}, "
                f"{'beyond' if clear else 'but within'} noise."
            )
    for one in dominance:
        if one.dominated:
            found.append(
                f"{one.winner} dominates {one.dominated} of the {one.of} models on the front of {one.loser}, "
                f"{one.surely} of them beyond noise."
            )
        else:
            found.append(f"{one.winner} dominates nothing on the front of {one.loser}.")
    return found


def _warnings(records: Sequence[Record]) -> list[str]:
    found = []
    for what, values in (
        ("targets", [", ".join(record.front.targets) for record in records]),
        ("machines", [_condition(record, "device_name") for record in records]),
        ("numbers of threads", [_condition(record, "threads") for record in records]),
        ("batches", [_condition(record, "batch") for record in records]),
        ("teachers", [record.identity.get("teacher", "") for record in records]),
        ("validation splits", [record.identity.get("validation", "") for record in records]),
    ):
        if len(set(values)) > 1:
            found.append(f"These studies have different {what}.")
    return found


def _condition(record: Record, name: str) -> str:
    kept = [calibration.get("conditions", {}) for calibration in record.calibrations.values()]
    return "; ".join(str(conditions.get(name)) for conditions in kept)
