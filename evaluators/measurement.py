"""What a measured file is worth."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Latency:
    """Wall time of one inference, in milliseconds, with the 95 % interval of the median.

    Attributes:
        p50_ms: The median.
        low_ms: Lower end of its interval.
        high_ms: Upper end of its interval.
        p90_ms: The 90th percentile; p95_ms and p99_ms likewise.
        mean_ms: The mean.
        ratio: To the fixed reference model, with its own interval (ratio_low, ratio_high).
        samples: Inferences that were timed.
        warmup: Inferences before them that were not.
        processes: Fresh processes it was measured in.
        disturbed: Whether other work was seen on the machine's cores while measuring.
        load_ms: Time to load the file.
        peak_memory_mb: Resident memory of a fresh process that runs this file alone, None where that is not known.
        conditions: Device, instruction sets, threads, batch, runtime and version, load.
        energy_mj: Energy of one inference, None where the machine does not tell it.
        tails: Percentile -> how far the ends of its own 95 % interval are from it, as logarithms: below, above. Empty
            in measurements of older versions, whose tails are as sure as their median.
    """

    p50_ms: float
    low_ms: float
    high_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    mean_ms: float
    ratio: float
    ratio_low: float
    ratio_high: float
    samples: int
    warmup: int
    processes: int
    disturbed: bool
    load_ms: float
    peak_memory_mb: float | None
    conditions: Mapping[str, Any] = field(default_factory=dict)
    energy_mj: float | None = None
    tails: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def throughput_per_s(self) -> float:
        """Inputs per second when one inference follows the other: the batch over the mean."""
        return float(self.conditions.get("batch", 1)) / self.mean_ms * 1e3

    @property
    def interval_text(self) -> str:
        """Both ends of the median's interval (ms), as they are printed."""
        return f"{ms_text(self.low_ms)} to {ms_text(self.high_ms)}"

    def at(self, percentile: int) -> float:
        """Return the latency (ms) that is held against a budget.

        Args:
            percentile: 50 gives the upper end of the median's interval; 90, 95 and 99 that of the tail, which is as
                unsure as the median and the tail's distance from it are together.
        """
        return self.percentile_ms(percentile) * math.exp(
            math.hypot(self._own(percentile, 1), math.log(self.high_ms / self.p50_ms))
        )

    def least(self, percentile: int) -> float:
        """Return the lower end (ms) of what `at` gives the upper end of."""
        return self.percentile_ms(percentile) / math.exp(
            math.hypot(self._own(percentile, 0), math.log(self.p50_ms / self.low_ms))
        )

    def ratio_at(self, percentile: int) -> float:
        """Return a percentile over the reference's median, which is held against a part of the reference's latency.

        As in `at`, it is the upper end of an interval: of the ratio's and the tail's own, without what is not known of
        the reference's milliseconds.
        """
        own = math.hypot(self._own(percentile, 1), math.log(self.ratio_high / self.ratio))
        return self.percentile_ratio(percentile) * math.exp(own)

    def least_ratio(self, percentile: int) -> float:
        """Return the lower end of what `ratio_at` gives the upper end of."""
        own = math.hypot(self._own(percentile, 0), math.log(self.ratio / self.ratio_low))
        return self.percentile_ratio(percentile) / math.exp(own)

    def percentile_ratio(self, percentile: int) -> float:
        """Return a percentile itself over the reference's median."""
        return self.ratio * self.percentile_ms(percentile) / self.p50_ms

    def percentile_ms(self, percentile: int) -> float:
        """Return a percentile (ms) itself: 50, 90, 95 or 99."""
        return {50: self.p50_ms, 90: self.p90_ms, 95: self.p95_ms, 99: self.p99_ms}[percentile]

    def _own(self, percentile: int, side: int) -> float:
        return self.tails.get(str(percentile), (0.0, 0.0))[side]


@dataclass(frozen=True)
class Measurement:
    """What one file is worth.

    Attributes:
        accuracy: Metric of the file, run by its runtime over the validation split.
        latency: Of one inference.
        size_bytes: As it lies on disk.
        compressed_bytes: After Zstandard compression.
        operators: Operator type -> count, of the graph that really runs.
        remark: Where that graph is not what the plan asked for, else empty.
        sha256: Of the file that all this is of; see `files.digest`. Empty in measurements of older versions.
        accuracy_sd: Standard error of `accuracy`, by resampling examples; None where it was not estimated.
        written: Operator type -> count, of the file, before the runtime rewrites it; empty where that is not known.
        calibration: Method by which the ranges of 8-bit activations were found; empty where there are none, and in
            measurements of older versions, where it was "minmax".
    """

    accuracy: float
    latency: Latency
    size_bytes: int
    compressed_bytes: int
    operators: Mapping[str, int]
    remark: str = ""
    sha256: str = ""
    accuracy_sd: float | None = None
    written: Mapping[str, int] = field(default_factory=dict)
    calibration: str = ""

    @property
    def operators_in_words(self) -> str:
        """How many operators the file has, and how many the runtime makes of them; empty where that is not known."""
        return fusion_in_words(self.written, self.operators)


def digits_behind(value: float) -> int:
    """Return how many digits behind the point a time or a size is printed with: three, and more of small ones.

    Of what is below a tenth, three digits count: 0.0044 ms and 0.0036 ms are not both 0.004.
    """
    return 3 if not 0 < value < 0.1 else min(12, 2 - math.floor(math.log10(value)))


def ms_text(ms: float) -> str:
    """Return milliseconds as they are printed, without their unit."""
    return f"{ms:.{digits_behind(ms)}f}"


def plain_figure(value: float, digits: int = 3) -> str:
    """Return a number with so many digits that count, in no powers of ten: 1235, where `.3g` gives 1.23e+03."""
    text = f"{value:.{digits}g}"
    return f"{value:.0f}" if "e+" in text else text


def fusion_in_words(written: Mapping[str, int], operators: Mapping[str, int]) -> str:
    """Return how many operators a file has, and how many a runtime makes of them; empty where that is not known.

    Args:
        written: Operator type -> count, of the file; empty where that is not known.
        operators: The same of the graph that really runs.
    """
    before, after = sum(written.values()), sum(operators.values())
    if not after:
        return ""
    return f"{before} operators, {after} after fusion" if before else f"{after} operators"
