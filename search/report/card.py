"""The card of a model: what it is, what it is worth, and how that was measured."""

from __future__ import annotations

from typing import Any

from ..store.files import digest
from .front import Picked


def card_values(picked: Picked) -> dict[str, Any]:
    """Everything on the card as plain values."""
    entry, front = picked.entry, picked.front
    measurement, latency = entry.trial.measurement, entry.latency
    assert measurement is not None
    return {
        "file": picked.path.name,
        "sha256": digest(picked.path),
        "target": front.home(entry),
        "study": front.folder.name,
        "trial": entry.trial.number,
        "origin": entry.trial.origin,
        "validation_accuracy": entry.accuracy,
        "test_accuracy": entry.confirmed.test_accuracy if entry.confirmed else None,
        "p50_ms": latency.p50_ms,
        "p50_interval_ms": [latency.low_ms, latency.high_ms],
        "p90_ms": latency.p90_ms,
        "p95_ms": latency.p95_ms,
        "p99_ms": latency.p99_ms,
        "speed_up": front.speed_up(entry),
        "size_bytes": measurement.size_bytes,
        "compressed_bytes": measurement.compressed_bytes,
        "peak_memory_mb": latency.peak_memory_mb,
        "operators": measurement.operators,
        "remark": measurement.remark,
        "conditions": latency.conditions,
        "elsewhere": {
            name: {
                "file": f"{name}/{front.path(entry, name).name}",
                "sha256": digest(front.path(entry, name)),
                "validation_accuracy": measurement.elsewhere[name].accuracy,
                "p50_ms": other.p50_ms,
                "p50_interval_ms": [other.low_ms, other.high_ms],
                "size_bytes": measurement.elsewhere[name].size_bytes,
                "remark": measurement.elsewhere[name].remark,
                "conditions": other.conditions,
            }
            for name, other in entry.elsewhere.items()
        },
        "plan": entry.trial.plan.to_dict(),
        "seed": entry.trial.seed,
    }


def card_text(values: dict[str, Any]) -> str:
    """The card as Markdown."""
    low, high = values["p50_interval_ms"]
    conditions = values["conditions"]
    test = values["test_accuracy"]
    lines = [
        f"# {values['file']}",
        "",
        f"Trial {values['trial']} ({values['origin']}) of the study `{values['study']}`.",
        "",
        "| | |",
        "| --- | --- |",
        f"| accuracy, validation split | {values['validation_accuracy']:.4f} |",
        f"| accuracy, test split | {'not scored' if test is None else f'{test:.4f}'} |",
        f"| latency, p50 | {values['p50_ms']:.3f} ms (95 % interval {low:.3f} to {high:.3f}) |",
        f"| latency, p90 / p95 / p99 | {values['p90_ms']:.3f} / {values['p95_ms']:.3f} / {values['p99_ms']:.3f} ms |",
        f"| speed-up over the teacher | {values['speed_up'] or float('nan'):.2f} x |",
        f"| size, compressed size | {values['size_bytes']:,} bytes, {values['compressed_bytes']:,} bytes |",
        f"| SHA-256 | `{values['sha256']}` |",
        *(f"| on {name} (`{other['file']}`) | {_short(other)} |" for name, other in values["elsewhere"].items()),
        "",
        "Accuracy is that of this file, run by the runtime named below. Latency is the wall time of one inference,"
        " input in place and output ready: the ratio of this file to the teacher's, timed in turns in fresh"
        " processes, times the teacher's median; processes ran with `GLIBC_TUNABLES=glibc.malloc.hugetlb=1`, which"
        " deployments should set too.",
        "",
        "## Measured on",
        "",
        *(f"- {k}: {v}" for k, v in conditions.items()),
        "",
        "## Operators that really run",
        "",
        *(f"- {k}: {v}" for k, v in values["operators"].items()),
        *(["", f"Remark: {values['remark']}."] if values["remark"] else []),
        "",
    ]
    return "\n".join(lines)


def _short(other: dict[str, Any]) -> str:
    low, high = other["p50_interval_ms"]
    return (
        f"{other['p50_ms']:.3f} ms ({low:.3f} to {high:.3f}), accuracy {other['validation_accuracy']:.4f}, "
        f"{other['size_bytes']:,} bytes"
    )
