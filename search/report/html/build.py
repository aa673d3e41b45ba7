"""A study's report, written in one step."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from ....files import write_bytes
from .answer import answer
from .conditions import conditions
from .forest import grow
from .layers import layer_data
from .points import latency_columns, study_values, trial_columns
from .progress import progress, progress_data, seen_costs, standings_of
from .record import Record
from .render import render
from .techniques_rows import technique_rows

FILE = "report.html"
"""The report's name in a study's folder."""
RELOAD_S = 5
"""Seconds after which the report of a running search loads itself again."""


def write_report(record: Record, path: Path, reload: bool = False) -> None:
    """Write the report of a study.

    Args:
        record: The study.
        path: Of the HTML file.
        reload: Whether the page loads itself again, as that of a running search does.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    write_bytes(path, report_text(record, reload).encode())


def report_text(record: Record, reload: bool = False) -> str:
    """Return the report of a study as HTML; see `write_report`."""
    found = answer(record)
    front = record.front
    notable = {e.number: e for e in (*front.best, *front.fitting[:1])} | {
        e.number: e for e in front.entries if e.trial.by_hand
    }
    standings = standings_of(record)
    forest = grow(front.entries, record.space.get("variables", []))
    importance = [] if forest is None else [forest.importance(figure) for figure in ("metric", "latency")]
    data: dict[str, Any] = {
        "studies": [study_values(record)],
        "trials": {"study": [0] * len(front.trials), **trial_columns(record)},
        "latency": latency_columns(record),
        "answer": found.number,
        "layers": layer_data(record, frozenset(notable)),
        "seen": seen_costs(forest, list(notable.values())),
        "progress": progress_data(record, standings, importance),
        "reload": RELOAD_S if reload else None,
    }
    values = {
        "title": record.name,
        "record": record,
        "metric": record.metric,
        "front": record.front,
        "answer": found,
        "progress": progress(record, standings, importance),
        "techniques": technique_rows(record.front),
        "conditions": conditions(record),
        "written": datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        "reload": reload,
    }
    return render("report.html", values, data)
