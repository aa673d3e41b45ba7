"""What a trial reports to Tune: numbers for its tables and loggers, and where its model lies."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from ...studies.metric import MetricLabel
from ..objectives import objective_value
from ..report.front import Front
from ..trial import Trial


def metrics_of(trial: Trial, label: MetricLabel) -> dict[str, Any]:
    """Return what is known of a trial. The keys are the same for all trials of a study: loggers write tables.

    Args:
        trial: The trial.
        label: How the metric is shown. Its key names the metric of the finished file, which is not a number before.

    Returns:
        Metrics by name: the metric in its own units, latencies in milliseconds (of several targets the first one's),
        the size in bytes, and words.
    """
    measured = trial.measured
    latencies = {name: file.latency for name, file in measured.items()} or trial.gate
    first = next(iter(latencies.values()), None)
    size = max((file.size_bytes for file in measured.values()), default=trial.gate_bytes)
    return {
        "trial": trial.number,
        "origin": trial.label,
        "state": str(trial.state),
        "reason": trial.reason,
        "rungs": len(trial.rungs),
        f"rung_{label.key}": label.shown(trial.rungs[-1]) if trial.rungs else math.nan,
        label.key: label.shown(objective_value("accuracy", measured)) if measured else math.nan,
        f"feasible_{label.key}": math.nan,
        "latency_ms": math.nan if first is None else first.p50_ms,
        "latency_low_ms": math.nan if first is None else first.low_ms,
        "latency_high_ms": math.nan if first is None else first.high_ms,
        "speedup": math.nan if first is None else 1 / first.ratio,
        "size_bytes": size,
        "model": "",
    }


def final_metrics(trial: Trial, known: Front) -> dict[str, Any]:
    """Return what a trial that ended is worth: the metric counts as feasible where its file meets every limit.

    Args:
        trial: The trial.
        known: A front of its study, whose limits count.
    """
    label = known.limits.metric
    found = metrics_of(trial, label)
    for entry in replace(known, trials=(trial,)).entries:
        found["model"] = str(next(iter(known.paths(entry).values())).absolute())
        if known.meets(entry, known.limits):
            found[f"feasible_{label.key}"] = found[label.key]
    return found
