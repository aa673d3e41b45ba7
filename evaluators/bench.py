"""Files side by side on this machine, without a study: `autocompress bench MODEL.onnx [OTHER.onnx ...]`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..spaces.target import Target
from .latency import LatencyMeter, compare, summary, wall_median
from .measurement import Latency
from .statistics import Estimate, combine


def bench(
    paths: Sequence[Path], target: Target, precision: float = 0.01, processes: int = 3, max_seconds: float = 3.0
) -> list[Latency]:
    """Latencies of `paths`, in their order, in the same rounds of fresh processes.

    p50_ms is each file's own median wall time; ratio is to the first file. max_seconds: of timing per file and
    process. Raises MeasurementError, RuntimeUnavailable, UnknownName (of the runtime).
    """
    first, *others = paths
    meter = LatencyMeter(target, first, precision=precision)
    runs, facts = meter.run_beside(others, processes, max_seconds * len(paths))
    statistic = meter.statistic()
    latencies = []
    for index in range(len(paths)):
        own = [(run.reference, *run.candidates)[index] for run in runs]
        beside = [compare(times, run.reference, statistic) for times, run in zip(own, runs, strict=True)]
        ratio = combine(beside) if index > 0 else Estimate(0.0, 0.0)
        latencies.append(summary(own, wall_median(own, statistic), ratio, statistic, facts))
    return latencies


def comparison_lines(paths: Sequence[Path], latencies: Sequence[Latency]) -> list[str]:
    """One line per file: its median with interval, its ratio to the first file and what that means."""
    width = max(len(path.name) for path in paths)
    lines: list[str] = []
    for path, latency in zip(paths, latencies, strict=True):
        line = f"{path.name:<{width}}  {latency.p50_ms:.3g} ms ({latency.low_ms:.3g} to {latency.high_ms:.3g})"
        if lines:
            verdict = "faster" if latency.ratio_high < 1 else "slower" if latency.ratio_low > 1 else "tie"
            line += f"  {latency.ratio:.3f} x {paths[0].name} ({latency.ratio_low:.3f} to {latency.ratio_high:.3f})"
            line += f": {verdict}"
        lines.append(line + ("  [disturbed: other work ran meanwhile]" if latency.disturbed else ""))
    return lines
