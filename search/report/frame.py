"""A study as a pandas frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...studies.metric import MetricLabel
from ..objectives import objective_value
from ..trial import Trial
from .entry import Confirmed, Entry

if TYPE_CHECKING:
    import pandas


def to_frame(
    trials: Sequence[Trial],
    confirmed: Mapping[int, Confirmed],
    on_front: frozenset[int],
    metric: MetricLabel,
    left_out: Mapping[int, str],
) -> pandas.DataFrame:
    """Return one row for each trial, ended in whatever way; what was measured is not told of those that are left out.

    Columns say how it went, what was measured (milliseconds, bytes), and each decision, as `channels.conv1`. With
    several targets, measured columns have the target's name behind an `@`. What a sampler drew is `drawn.<name>`.

    Args:
        trials: All that ended.
        confirmed: The longer looks, by trial number.
        on_front: Numbers of the trials on the front.
        metric: How the metric is shown. Its columns are named "accuracy", or as a metric that is minimized.
        left_out: Trials whose figures are those of another file or another machine, with the reason.
    """
    import pandas

    several = len({name for trial in trials for name in trial.measured}) > 1
    rows = []
    for trial in sorted(trials, key=_number):
        if reason := left_out.get(trial.number, ""):
            trial = replace(trial, gate={}, measured={}, reason=reason)
        row = _row(trial, confirmed.get(trial.number), on_front, metric, several)
        rows.append(row | {"outcome": "left out"} if reason else row)
    return pandas.DataFrame(rows)


def _number(trial: Trial) -> int:
    return trial.number


def _row(
    trial: Trial, confirmed: Confirmed | None, on_front: frozenset[int], metric: MetricLabel, several: bool
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "trial": trial.number,
        "origin": trial.label,
        "proposed_by": str(trial.origin),
        "outcome": str(trial.state),
        "on_front": trial.number in on_front,
        "reason": trial.reason,
        "gate_p50_ms": next((latency.p50_ms for latency in trial.gate.values()), None),
        "metric": metric.name,
        f"rung_{metric.key}": metric.shown(trial.rungs[-1]) if trial.rungs else None,
    }
    key = metric.key if metric.key not in row else f"{metric.key}_value"
    if trial.measured:
        row |= {
            key: metric.shown(objective_value("accuracy", trial.measured)),
            f"test_{metric.key}": Entry(trial, confirmed, metric).test_accuracy,
        }
        for name, latency in Entry(trial, confirmed).reported.items():
            file, at = trial.measured[name], f"@{name}" if several else ""
            row |= {
                f"p50_ms{at}": latency.p50_ms,
                f"p50_low_ms{at}": latency.low_ms,
                f"p50_high_ms{at}": latency.high_ms,
            }
            row |= {f"p90_ms{at}": latency.p90_ms, f"p95_ms{at}": latency.p95_ms, f"p99_ms{at}": latency.p99_ms}
            row |= {f"disturbed{at}": latency.disturbed, f"peak_memory_mb{at}": latency.peak_memory_mb}
            row |= {f"size_bytes{at}": file.size_bytes, f"compressed_bytes{at}": file.compressed_bytes}
            row[f"operators{at}"] = sum(file.operators.values()) or None
            row[f"operators_written{at}"] = sum(file.written.values()) or None
            row[f"remark{at}"] = file.remark
            if several:
                row[f"{metric.key}{at}"] = metric.shown(file.accuracy)
    row |= {f"seconds.{kind}": value for kind, value in trial.seconds.items()}
    if trial.spec.recovery is not None:
        row |= {"optimizer": trial.spec.recovery.optimizer, "peak_learning_rate": trial.spec.recovery.peak_rate}
        row |= {"trained_weights": trial.spec.recovery.tune, "train_bytes": trial.train_bytes}
    row |= {name.replace(":", ".", 1): option for name, option in trial.plan.choices.items()}
    return row | {f"drawn.{name}": value for name, value in (trial.latent or {}).items()}
