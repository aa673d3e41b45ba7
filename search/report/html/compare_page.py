"""The report that compares studies: their fronts over each other."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ....errors import UsageError
from ....files import write_bytes
from ....studies.metric import MetricLabel
from .baseline import Baseline, read_baselines
from .comparing import Comparison, check_alike, compare, contender_of, contender_of_baselines
from .conditions import conditions
from .points import joined, latency_columns, study_values, trial_columns
from .record import Record, read_record
from .render import render


def compare_studies(folders: Sequence[Path], tables: Sequence[Path], path: Path) -> Comparison:
    """Write the report that compares studies and models that were measured elsewhere.

    Args:
        folders: Of the studies.
        tables: CSV files of models that were measured elsewhere.
        path: Of the HTML file.

    Returns:
        How they compare.

    Raises:
        UsageError: There is less than two to compare, metrics differ, or a table cannot be read.
        StorageError: A study cannot be read, or the disk cannot be written.
    """
    if len(folders) + len(tables) < 2 or not folders:
        raise UsageError("nothing to compare with; give two studies, or a study and --csv FILE")
    records = [read_record(folder) for folder in folders]
    check_alike(records)
    baselines = [read_baselines(table) for table in tables]
    names = _unique([*(record.name for record in records), *(table.stem for table in tables)])
    metric = records[0].metric
    contenders = [contender_of(record, name) for record, name in zip(records, names, strict=False)]
    contenders += [
        contender_of_baselines(found, metric, name)
        for found, name in zip(baselines, names[len(records) :], strict=True)
    ]
    comparison = compare(contenders, records)
    strange = _other_scale(records, dict(zip(names[len(records) :], baselines, strict=True)))
    comparison = replace(comparison, warnings=(*comparison.warnings, *strange))
    write_bytes(path, _text(records, baselines, names, comparison).encode())
    return comparison


def _text(
    records: Sequence[Record], baselines: Sequence[Sequence[Baseline]], names: Sequence[str], comparison: Comparison
) -> str:
    metric, where = records[0].metric, records[0].front.targets[0]
    values = [study_values(record) for record in records]
    values += [_baseline_values(metric, where) for _ in baselines]
    parts = [trial_columns(record) for record in records] + [_baseline_columns(found) for found in baselines]
    latencies = [latency_columns(record) for record in records]
    latencies += [{where: _baseline_latency(found)} for found in baselines]
    lengths = [len(part["number"]) for part in parts]
    data: dict[str, Any] = {
        "studies": [{**value, "name": name} for value, name in zip(values, names, strict=True)],
        "trials": joined(parts),
        "latency": _joined_latency(latencies, lengths),
        "answer": None,
        "reload": None,
    }
    shown = {
        "title": " and ".join(names),
        "names": names,
        "metric": metric,
        "records": [(name, conditions(record)) for name, record in zip(names, records, strict=False)],
        "comparison": comparison,
        "written": datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
    }
    return render("compare.html", shown, data)


def _other_scale(records: Sequence[Record], baselines: Mapping[str, Sequence[Baseline]]) -> list[str]:
    """Return which tables seem to hold percentages, where the metric of the studies is a share."""
    known = [entry.accuracy for record in records for entry in record.front.entries]
    if not known or not all(0 <= value <= 1 for value in known) or not records[0].metric.maximized:
        return []
    return [
        f"{name} holds metrics above 1, and those of the studies lie between 0 and 1: is it in percent?"
        for name, found in baselines.items()
        if any(one.figures["metric"] > 1 for one in found)
    ]


def _unique(names: Sequence[str]) -> list[str]:
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return found


def _joined_latency(
    parts: Sequence[dict[str, dict[str, list[Any]]]], lengths: Sequence[int]
) -> dict[str, dict[str, list[Any]]]:
    targets = dict.fromkeys(name for part in parts for name in part)
    columns = dict.fromkeys(column for part in parts for target in part.values() for column in target)
    return {
        target: {
            column: [
                value
                for part, length in zip(parts, lengths, strict=True)
                for value in part.get(target, {}).get(column, [None] * length)
            ]
            for column in columns
        }
        for target in targets
    }


def _baseline_values(metric: MetricLabel, target: str) -> dict[str, Any]:
    return {
        "metric": {"name": metric.name, "maximized": metric.maximized},
        "targets": [target],
        "baseline": True,
        "percentile": 50,
        "budgets": {},
        "variables": [],
        "layers": [],
        "groups": [],
    }


def _baseline_columns(found: Sequence[Baseline]) -> dict[str, list[Any]]:
    return {
        "number": list(range(1, len(found) + 1)),
        "label": [one.name for one in found],
        "origin": ["baseline"] * len(found),
        "state": ["finished"] * len(found),
        "reason": [""] * len(found),
        "front": [0] * len(found),
        "hand": [0] * len(found),
        "fits": [0] * len(found),
        "metric": [one.figures["metric"] for one in found],
        "metricLow": [one.get("metric_low") for one in found],
        "metricHigh": [one.get("metric_high") for one in found],
        "bytes": [one.get("size_bytes") for one in found],
        "zstd": [one.get("compressed_bytes") for one in found],
        "disturbed": [0] * len(found),
        "plan": ["measured elsewhere"] * len(found),
        "choices": [{}] * len(found),
    }


def _baseline_latency(found: Sequence[Baseline]) -> dict[str, list[Any]]:
    return {
        "p50": [one.figures["latency_ms"] for one in found],
        "low": [one.get("latency_low_ms") for one in found],
        "high": [one.get("latency_high_ms") for one in found],
        "memory": [one.get("memory_mb") for one in found],
        "energy": [one.get("energy_mj") for one in found],
        "held": [one.figures["latency_ms"] for one in found],
    }
