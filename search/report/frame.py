"""A study as a pandas frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..objectives import objective_value
from ..trial import Trial
from .entry import Confirmed, Entry

if TYPE_CHECKING:
    import pandas


def to_frame(trials: Sequence[Trial], confirmed: Mapping[int, Confirmed], on_front: frozenset[int]) -> pandas.DataFrame:
    """Return one row for each trial, ended in whatever way.

    Columns say how it went, what was measured (milliseconds, bytes), and each decision, as `channels.conv1`. With
    several targets, measured columns have the target's name behind an `@`. What a sampler drew is `drawn.<name>`.

    Args:
        trials: All that ended.
        confirmed: The longer looks, by trial number.
        on_front: Numbers of the trials on the front.
    """
    import pandas

    several = len({name for trial in trials for name in trial.measured}) > 1
    return pandas.DataFrame([_row(t, confirmed.get(t.number), on_front, several) for t in sorted(trials, key=_number)])


def _number(trial: Trial) -> int:
    return trial.number


def _row(trial: Trial, confirmed: Confirmed | None, on_front: frozenset[int], several: bool) -> dict[str, Any]:
    row: dict[str, Any] = {
        "trial": trial.number,
        "origin": trial.label,
        "proposed_by": str(trial.origin),
        "outcome": str(trial.state),
        "on_front": trial.number in on_front,
        "reason": trial.reason,
        "gate_p50_ms": next((latency.p50_ms for latency in trial.gate.values()), None),
        "rung_accuracy": trial.rungs[-1] if trial.rungs else None,
    }
    if trial.measured:
        row |= {
            "accuracy": objective_value("accuracy", trial.measured),
            "test_accuracy": confirmed.test_accuracy if confirmed else None,
        }
        for name, latency in Entry(trial, confirmed).latencies.items():
            file, at = trial.measured[name], f"@{name}" if several else ""
            row |= {
                f"p50_ms{at}": latency.p50_ms,
                f"p50_low_ms{at}": latency.low_ms,
                f"p50_high_ms{at}": latency.high_ms,
            }
            row |= {f"p90_ms{at}": latency.p90_ms, f"p95_ms{at}": latency.p95_ms, f"p99_ms{at}": latency.p99_ms}
            row |= {f"disturbed{at}": latency.disturbed, f"peak_memory_mb{at}": latency.peak_memory_mb}
            row |= {f"size_bytes{at}": file.size_bytes, f"compressed_bytes{at}": file.compressed_bytes}
            row[f"remark{at}"] = file.remark
            if several:
                row[f"accuracy{at}"] = file.accuracy
    row |= {f"seconds.{kind}": value for kind, value in trial.seconds.items()}
    row |= {name.replace(":", ".", 1): option for name, option in trial.plan.choices.items()}
    return row | {f"drawn.{name}": value for name, value in (trial.latent or {}).items()}
