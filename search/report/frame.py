"""A study as a pandas frame."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ..objectives import worth
from .front import Entry, Front


def to_frame(front: Front) -> pd.DataFrame:
    """One row a trial. Columns: how it went, what was measured (milliseconds, bytes), and each decision:
    `channels.<group>`, `bits.<layer>`, `pattern.<layer>`, `recovery.<name>`, and what the sampler drew, `drawn.<name>`.
    """
    on_front = {e.trial.number for e in front.best}
    rows = []
    for trial in sorted(front.trials, key=lambda t: t.number):
        row: dict[str, Any] = {
            "trial": trial.number,
            "origin": trial.origin,
            "outcome": trial.outcome,
            "on_front": trial.number in on_front,
            "target": trial.plan.target or front.targets[0],
            "reason": trial.reason,
            "gate_p50_ms": trial.gate.p50_ms if trial.gate else None,
            "rung_accuracy": trial.rungs[-1] if trial.rungs else None,
        }
        if trial.measurement is not None:
            confirmed = front.confirmed.get(trial.number)
            latency = confirmed.latency if confirmed else trial.measurement.latency
            row |= {
                "accuracy": worth("accuracy", trial.measurement),
                "test_accuracy": confirmed.test_accuracy if confirmed else None,
                "p50_ms": latency.p50_ms,
                "p50_low_ms": latency.low_ms,
                "p50_high_ms": latency.high_ms,
                "p90_ms": latency.p90_ms,
                "p95_ms": latency.p95_ms,
                "p99_ms": latency.p99_ms,
                "disturbed": latency.disturbed,
                "size_bytes": trial.measurement.size_bytes,
                "compressed_bytes": trial.measurement.compressed_bytes,
                "peak_memory_mb": latency.peak_memory_mb,
                "remark": trial.measurement.remark,
            }
            for name, other in Entry(trial, confirmed).elsewhere.items():
                row |= {f"p50_ms@{name}": other.p50_ms, f"p50_low_ms@{name}": other.low_ms}
                row |= {f"p50_high_ms@{name}": other.high_ms, f"disturbed@{name}": other.disturbed}
                row[f"accuracy@{name}"] = trial.measurement.elsewhere[name].accuracy
        row |= {f"seconds.{k}": v for k, v in trial.seconds.items()}
        row |= {f"channels.{k}": v for k, v in trial.plan.channels.items()}
        row |= {f"bits.{k}": v for k, v in trial.plan.bits.items()}
        row |= {f"pattern.{k}": f"{p.kind} {p.rate:g}" for k, p in trial.plan.patterns.items()}
        if trial.plan.recovery is not None:
            row |= {f"recovery.{k}": v for k, v in vars(trial.plan.recovery).items()}
        row |= {f"drawn.{k}": v for k, v in (trial.latent or {}).items()}
        rows.append(row)
    return pd.DataFrame(rows)
