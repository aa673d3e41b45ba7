"""The card of a model: what it is, what it is worth, and how that was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...files import copy, digest, write_bytes, write_json
from ...spaces.target import PerTarget
from ...studies.metric import MetricLabel
from .entry import Entry


def save_model(
    entry: Entry, files: PerTarget[Path], study: str, speed_up: float | None, folder: Path
) -> PerTarget[Path]:
    """Copy the files of a model into `folder`, with a card (`card.md`, `card.json`).

    Args:
        entry: The model.
        files: Its files in the study, by target.
        study: The study's name.
        speed_up: How many times faster than the teacher it is, None where that is not known.
        folder: Where the files go; those of several targets go into folders named after the targets.

    Returns:
        The new files, by target.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    saved = {name: (folder if len(files) == 1 else folder / name) / path.name for name, path in files.items()}
    for name, path in files.items():
        copy(path, saved[name])
    values = card_values(entry, saved, folder, study, speed_up)
    write_json(folder / "card.json", values)
    write_bytes(folder / "card.md", card_text(values).encode())
    return saved


def card_values(
    entry: Entry, files: PerTarget[Path], folder: Path, study: str, speed_up: float | None
) -> dict[str, Any]:
    """Return everything on the card as plain values; arguments are those of `save_model`."""
    return {
        "study": study,
        "trial": entry.number,
        "origin": entry.trial.label,
        "metric": asdict(entry.metric),
        f"validation_{entry.metric.key}": entry.accuracy,
        f"test_{entry.metric.key}": entry.test_accuracy,
        "speed_up": speed_up,
        "files": {name: _file_values(entry, name, path, folder) for name, path in files.items()},
        "plan": dict(entry.trial.plan.choices),
        "spec": asdict(entry.trial.spec),
        "seed": entry.trial.seed,
    }


def _file_values(entry: Entry, target: str, path: Path, folder: Path) -> dict[str, Any]:
    measured, latency = entry.trial.measured[target], entry.latencies[target]
    return {
        "file": path.relative_to(folder).as_posix(),
        "sha256": digest(path),
        f"validation_{entry.metric.key}": entry.metric.shown(measured.accuracy),
        "p50_ms": latency.p50_ms,
        "p50_interval_ms": [latency.low_ms, latency.high_ms],
        "p90_ms": latency.p90_ms,
        "p95_ms": latency.p95_ms,
        "p99_ms": latency.p99_ms,
        "size_bytes": measured.size_bytes,
        "compressed_bytes": measured.compressed_bytes,
        "peak_memory_mb": latency.peak_memory_mb,
        "operators": dict(measured.operators),
        "remark": measured.remark,
        "conditions": dict(latency.conditions),
    }


def card_text(values: Mapping[str, Any]) -> str:
    """Return the card as Markdown."""
    metric = MetricLabel(**values["metric"])
    test, times = values[f"test_{metric.key}"], values["speed_up"]
    names = ", ".join(file["file"] for file in values["files"].values())
    lines = [
        f"# {names}",
        "",
        f"Trial {values['trial']} ({values['origin']}) of the study `{values['study']}`.",
        "",
        "| | |",
        "| --- | --- |",
        f"| {metric.name}, validation split | {_figure(metric, values[f'validation_{metric.key}'])} |",
        f"| {metric.name}, test split | {'not scored' if test is None else _figure(metric, test)} |",
        f"| speed-up over the teacher | {'not measured' if times is None else f'{times:.2f} x'} |",
        "",
        f"The metric ({metric.name}{'' if metric.maximized else ', lower is better'}) is that of the files, run by"
        " the runtimes named below. Latency is the wall time of one inference,"
        " input in place and output ready: the ratio of a file to the teacher's, timed in turns in fresh processes,"
        " times the teacher's median; processes ran with `GLIBC_TUNABLES=glibc.malloc.hugetlb=1`, which deployments"
        " should set too.",
        "",
    ]
    for target, file in values["files"].items():
        lines += _file_lines(target, file, metric)
    return "\n".join(lines)


def _figure(metric: MetricLabel, value: float) -> str:
    return metric.text(metric.kept(value))


def _file_lines(target: str, file: Mapping[str, Any], metric: MetricLabel) -> list[str]:
    low, high = file["p50_interval_ms"]
    return [
        f"## {target}: `{file['file']}`",
        "",
        "| | |",
        "| --- | --- |",
        f"| {metric.name}, validation split | {_figure(metric, file[f'validation_{metric.key}'])} |",
        f"| latency, p50 | {file['p50_ms']:.3f} ms (95 % interval {low:.3f} to {high:.3f}) |",
        f"| latency, p90 / p95 / p99 | {file['p90_ms']:.3f} / {file['p95_ms']:.3f} / {file['p99_ms']:.3f} ms |",
        f"| size, compressed size | {file['size_bytes']:,} bytes, {file['compressed_bytes']:,} bytes |",
        f"| SHA-256 | `{file['sha256']}` |",
        "",
        "Measured on:",
        "",
        *(f"- {k}: {v}" for k, v in file["conditions"].items()),
        "",
        "Operators that really run:",
        "",
        *(f"- {k}: {v}" for k, v in file["operators"].items()),
        *(["", f"Remark: {file['remark']}."] if file["remark"] else []),
        "",
    ]
