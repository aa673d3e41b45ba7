"""A trial, and the best so far, in a line each: for a terminal and for the log."""

from __future__ import annotations

from collections.abc import Sequence

from ...evaluators.measurement import ms_text
from ...studies.metric import MetricLabel
from ..feasibility import Limits
from ..objectives import objective_value
from ..trial import Trial


def trial_line(trial: Trial, metric: MetricLabel) -> str:
    """Return one line: what became of a trial."""
    head = f"trial {trial.number} ({trial.label}): {trial.state}"
    if not trial.measured:
        return f"{head}, {trial.reason}"
    several = len(trial.measured) > 1 or bool(trial.spec.target)
    parts = []
    for name, file in trial.measured.items():
        latency, where = file.latency, f" on {name}" if several else ""
        parts.append(f"p50 {ms_text(latency.p50_ms)} ms ({latency.interval_text}){where}")
    remarks = [f"{name + ': ' if several else ''}{file.remark}" for name, file in trial.measured.items() if file.remark]
    size = max(file.size_bytes for file in trial.measured.values())
    quality = objective_value("accuracy", trial.measured)
    figures = ", ".join((f"{metric.name} {metric.text(quality)}", *parts, f"{size / 1000:.0f} kB"))
    return "; ".join((f"{head}, {figures}", *remarks))


def best_line(trials: Sequence[Trial], limits: Limits) -> str:
    """Return one line: the most accurate finished trial that meets the limits so far."""
    where = f" under {', '.join(words)}" if (words := limits.in_words()) else ""
    best: tuple[float, Trial] | None = None
    for trial in trials:
        latencies = {name: file.latency for name, file in trial.measured.items()}
        if not trial.measured:
            continue
        size = max(file.size_bytes for file in trial.measured.values())
        quality = objective_value("accuracy", trial.measured)
        if limits.are_met(latencies, quality, size) and (best is None or quality > best[0]):
            best = quality, trial
    if best is None:
        return f"none{where} yet"
    quality, trial = best
    metric = limits.metric
    name, file = next(iter(trial.measured.items()))
    target = f" on {name}" if trial.spec.target else ""
    p50 = f"p50 {ms_text(file.latency.p50_ms)} ms{target}"
    return f"trial {trial.number}{where}: {metric.name} {metric.text(quality)}, {p50}"
