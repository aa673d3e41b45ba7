"""Intervals of figures that a study keeps without them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ...evaluators.measurement import Latency
from ...files import read_object
from ...studies.metric import ACCURACY, MetricLabel
from ..store.facts import TaskFacts, read_facts

KINDS = ("classification", "binary")
"""Kinds of tasks whose own metric is the share of examples that are right."""
Z95 = 1.959964
"""Of the normal distribution, for intervals of 95 %."""


@dataclass(frozen=True)
class Interval:
    """A figure with the ends of its 95 % interval, which are None where nothing is known of it."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def ends(self) -> tuple[float, float] | None:
        """Both ends, the lower one first; None where nothing is known of them."""
        return None if self.low is None or self.high is None else (self.low, self.high)


def speed_up(latency: Latency) -> Interval:
    """Return how many times faster than the teacher a file is, from their measured ratio."""
    return Interval(1 / latency.ratio, 1 / latency.ratio_high, 1 / latency.ratio_low)


def median_ms(latency: Latency) -> Interval:
    """Return a median latency (ms)."""
    return Interval(latency.p50_ms, latency.low_ms, latency.high_ms)


def split_sizes(folder: Path) -> dict[str, int]:
    """Return the number of examples in each split of a study: train, validation and test, where it was kept."""
    return split_counts(read_object(folder / "identity.json") or {})


def split_counts(kept: Mapping[str, str]) -> dict[str, int]:
    """Return the same from what a study knows its data by."""
    counts = {name: str(kept.get(name, "")).partition(" ")[0] for name in ("train", "validation", "test")}
    return {name: int(count) for name, count in counts.items() if count.isdigit()}


@dataclass(frozen=True)
class MetricIntervals:
    """Says how sure a metric is.

    Of a share of right answers it is known from the number of examples alone. Of others it is what resampling examples
    showed when a file was measured; without that, nothing is known.

    Attributes:
        metric: How it is shown.
        sizes: Examples by split; empty where the metric is no such share.
    """

    metric: MetricLabel = ACCURACY
    sizes: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path) -> MetricIntervals:
        """Return what is known of the metric of a study."""
        return cls.of_share(read_facts(folder), split_sizes(folder))

    @classmethod
    def of_share(cls, facts: TaskFacts, sizes: Mapping[str, int]) -> MetricIntervals:
        """Return the same from what a study knows of its task, and its examples by split."""
        # a user's own function may have the name of a share, and be none
        share = facts.kind in KINDS and facts.metric == MetricLabel() and facts.share is not False
        return cls(facts.metric, dict(sizes) if share else {})

    def around(self, quality: float, split: str, sd: float | None = None) -> Interval:
        """Return the metric in its own units with the interval of Wilson (1927, JASA 22, p. 209).

        Args:
            quality: As a search keeps it.
            split: That it was measured on: "validation" or "test".
            sd: Standard error by resampling, of metrics that are no shares.
        """
        value, n = self.metric.shown(quality), self.sizes.get(split)
        if sd is not None:  # a metric that has one is no share, whatever its name and its range
            return Interval(value, value - Z95 * sd, value + Z95 * sd)
        if not n or not 0 <= value <= 1:
            return Interval(value)
        middle = (value + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
        half = Z95 / (1 + Z95**2 / n) * math.sqrt(value * (1 - value) / n + Z95**2 / (4 * n**2))
        return Interval(value, min(value, max(0.0, middle - half)), max(value, min(1.0, middle + half)))

    def difference(
        self, quality: float, other: float, split: str, sds: tuple[float | None, float | None] = (None, None)
    ) -> Interval:
        """Return how much larger the first metric is, with the interval of Newcombe (1998, Stat. Med. 17, p. 873).

        It is for different examples. Two models of a study are measured on the same ones, which makes their difference
        surer: the interval is too wide for them, by how much is not known.

        Args:
            quality: The first, as a search keeps it.
            other: The second.
            split: That both were measured on.
            sds: Standard errors by resampling, of metrics that are no shares.
        """
        a, b = self.around(quality, split, sds[0]), self.around(other, split, sds[1])
        apart = a.value - b.value
        if a.low is None or a.high is None or b.low is None or b.high is None:
            return Interval(apart)
        low = apart - math.hypot(a.value - a.low, b.high - b.value)
        return Interval(apart, low, apart + math.hypot(a.high - a.value, b.value - b.low))
