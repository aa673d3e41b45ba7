"""The last section of a report: how everything was measured, enough for a stranger to repeat it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..table import measured_to_pay
from .record import Record
from .wording import kilobytes, milliseconds

Rows = tuple[tuple[str, str], ...]
NAMES = {
    "device_name": "device",
    "system": "system",
    "architecture": "architecture",
    "physical_cores": "physical cores",
    "logical_cores": "logical cores",
    "instruction_sets": "instruction sets",
    "threads": "threads",
    "batch": "inputs per inference",
    "runtime": "runtime",
    "runtime_version": "its version",
    "governor": "frequency governor",
    "transparent_huge_pages": "transparent huge pages",
    "cpu_mhz": "clock, MHz",
    "gpu_mhz": "clock of the GPU, MHz",
    "statistic": "files are compared by",
}


@dataclass(frozen=True)
class Conditions:
    """How it was measured: tables of two columns, and sentences.

    Attributes:
        targets: For each target, its name and the machine as it was.
        data: The splits.
        teaching: The teacher, and how students are taught.
        search: Settings of the search.
        versions: Of libraries; empty for studies of versions that did not keep them.
        intervals: What intervals mean, in sentences.
        disturbed: What other work disturbed, in one sentence.
        profile: What was measured to pay on the targets, in lines.
    """

    targets: tuple[tuple[str, Rows], ...]
    data: Rows
    teaching: Rows
    search: Rows
    versions: Rows
    intervals: tuple[str, ...]
    disturbed: str
    profile: tuple[str, ...]


def conditions(record: Record) -> Conditions:
    """Return how a study was measured."""
    return Conditions(
        targets=tuple((name, _target(record, name)) for name in record.front.targets),
        data=_data(record),
        teaching=_teaching(record),
        search=_search(record),
        versions=tuple(record.facts.versions.items()),
        intervals=tuple(_intervals(record)),
        disturbed=_disturbed(record),
        profile=tuple(measured_to_pay(record.front)),
    )


def _text(value: Any) -> str:
    if isinstance(value, str | int):
        return str(value)
    if isinstance(value, float):
        return f"{value:g}"
    return ", ".join(map(_text, value)) if isinstance(value, Sequence) else str(value)


def _target(record: Record, name: str) -> Rows:
    calibration = record.calibrations.get(name, {})
    kept = calibration.get("conditions", {})
    if not kept:
        measured = (e.latencies[name].conditions for e in record.front.entries if name in e.latencies)
        kept = dict(next(measured, {}))
    rows = [(words, _text(kept[key])) for key, words in NAMES.items() if kept.get(key) not in (None, [], "")]
    if calibration:
        ms = [milliseconds(calibration[key]) for key in ("p50_ms", "low_ms", "high_ms")]
        again = ", beside other work" if calibration.get("disturbed") else ""
        rows.append(
            ("the teacher's own time", f"{ms[0]} ms ({ms[1]} to {ms[2]}), {calibration['processes']} processes{again}")
        )
    looks = [e.latencies[name] for e in record.front.entries if name in e.latencies]
    if looks:
        samples = sorted(look.samples for look in looks)
        rows.append(
            ("inferences timed for a model", f"{samples[0]} to {samples[-1]}, after {looks[0].warmup} that were not")
        )
    return tuple(rows)


def _data(record: Record) -> Rows:
    data, found = record.settings.data, []
    source = record.settings.task.source
    found.append(("task", source or f"ready-made, data of kind {data.kind}"))
    if record.facts.kind:
        found.append(("kind", record.facts.kind))
    for split, count in record.examples.items():
        found.append((f"{split} split", f"{count:,} examples ({record.identity[split].partition(', ')[2]})"))
    better = "higher" if record.metric.maximized else "lower"
    found.append(("metric", f"{record.metric.name}, {better} is better"))
    return tuple(found)


def _teaching(record: Record) -> Rows:
    teacher, recovery = record.settings.teacher, record.settings.recovery
    found = [("teacher", teacher.model or record.settings.task.source or "given from Python")]
    if teacher.epochs:
        found.append(
            ("its training", f"{teacher.epochs} epochs, learning rate {teacher.learning_rate:g}, seed {teacher.seed}")
        )
    if "teacher" in record.identity:
        found.append(("SHA-256 of its weights", record.identity["teacher"]))
    if record.facts.teacher_bytes:
        found.append(("its file", kilobytes(record.facts.teacher_bytes)))
    epochs = "as many as suit the data" if recovery.epochs is None else f"{recovery.epochs:g}"
    found.append(("epochs of recovery", epochs))
    found.append(("rungs", ", ".join(f"{rung:g}" for rung in recovery.rungs)))
    return tuple(found)


def _search(record: Record) -> Rows:
    search = record.settings.search
    asked = {"minutes": search.minutes, "trials": search.trials, "patience, minutes": search.patience}
    found = [(name, f"{value:g}") for name, value in asked.items() if value is not None]
    found += [("seed", str(search.seed)), ("workers", f"{search.workers} ({search.executor})")]
    found += [("sampler", search.sampler), ("objectives", ", ".join(record.front.objectives))]
    found.append(("axes", ", ".join(record.settings.space.axes)))
    if search.without:
        found.append(("left out", ", ".join(search.without)))
    return tuple(found)


def _intervals(record: Record) -> list[str]:
    metric, count = record.metric.name, record.examples.get("validation", 0)
    found = [
        "Latency is the wall time of one inference of the very file that ships: its measured ratio to the teacher's "
        "file, timed in turns with it in fresh processes, times the teacher's own median at all moments at which "
        "it was seen. "
        "Intervals hold 95 %; two files are told apart by the intervals of their ratios, which are narrower than those "
        "of their milliseconds.",
    ]
    if record.knows_noise:
        resampled = any(entry.quality_sd is not None for entry in record.front.entries)
        over = f"{count:,} validation examples"
        by = f"was resampled over {over}, which gave its 95 % interval"
        share = f"is a share of {over}; its 95 % interval is that of Wilson (1927)"
        found.append(
            f"{metric[0].upper()}{metric[1:]} {by if resampled else share}. All models were scored on the same "
            "examples, so that their differences are surer than their intervals show; to choose, a difference counts "
            "that is more than one standard error of models scored on examples of their own."
        )
    else:
        found.append(f"No interval is known for {metric}, which is no share of right answers.")
    scored = any(entry.confirmed for entry in record.front.entries)
    found.append(
        "The test split was scored once, at the end, for the models of the front and those made by hand."
        if scored
        else "The test split was not scored yet: that is done once, at the end of a search."
    )
    return found


def _disturbed(record: Record) -> str:
    entries = record.front.entries
    found = [str(entry.number) for entry in entries if entry.disturbed]
    if not found:
        return f"No other work was seen on the machine while its {_models(len(entries))} measured." if entries else ""
    named = ", ".join(found[:20]) + (f" and {len(found) - 20} more" if len(found) > 20 else "")
    which = "trial" if len(found) == 1 else "trials"
    return (
        f"Other work was seen on the machine while {len(found)} of {_models(len(entries))} measured: {which} {named}."
    )


def _models(count: int) -> str:
    return "1 model was" if count == 1 else f"{count} models were"
