"""The ledger: what a study said and showed before a fault, held against what it shows after it.

It reads the study's own files (rows of SQLite, JSON, model files), so that a fault of the product's readers shows too.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .arena import Run

ROWS = "SELECT value_json FROM trial_user_attributes WHERE key = 'trial' ORDER BY trial_id"
TOLERANCE = 1e-3
"""Relative difference from the answers that a file gave when it was measured."""


@dataclass
class Ledger:
    """What is known of one study.

    Attributes:
        study: The study's folder.
        lost: What was there and is not any more, one line each.
        wrong: What contradicts what was said before, one line each.
        again: Rungs that were trained anew although they had come to their end.
    """

    study: Path
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    again: int = 0
    _rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    _files: dict[str, str] = field(default_factory=dict)
    _looks: dict[str, int] = field(default_factory=dict)
    _rungs: dict[int, tuple[float, ...]] = field(default_factory=dict)

    def read(self, runs: Iterable[Run] = ()) -> None:
        """Take in how the study stands while nothing runs, and note what does not fit to what was seen before.

        Args:
            runs: Whose reports must be in the database.
        """
        found = rows_of(self.study)
        for number, count in Counter(row["number"] for row in found).items():
            if count > 1:
                self.wrong.append(f"trial {number} is there {count} times")
        plans = Counter(json.dumps(row["plan"], sort_keys=True) for row in found if not row.get("technique"))
        self.wrong += ["one plan was tried twice" for count in plans.values() if count > 1]
        rows = {row["number"]: row for row in found}
        for number, before in self._rows.items():
            if number not in rows:
                self.lost.append(f"trial {number} is no longer there")
            elif rows[number] != before:
                self.wrong.append(f"trial {number} is another one")
        self._rows |= rows
        for run in runs:
            for number, outcome in run.reported():
                if number not in rows:
                    self.lost.append(f"trial {number} was reported {outcome} and is not there")
                elif rows[number]["state"] != outcome:
                    self.wrong.append(f"trial {number} was reported {outcome}, and is {rows[number]['state']}")
        self._read_files(rows)
        self._read_rungs(rows)

    def _read_files(self, rows: dict[int, dict[str, Any]]) -> None:
        for number, row in rows.items():
            if row["state"] != "finished":
                continue
            for name in ("model.onnx", "measurement.json", "answers.npz"):
                path = self.study / "trials" / f"{number:04d}" / name
                key = f"{number}/{name}"
                if not path.exists():
                    self.lost.append(f"trial {number}: {name} is gone")
                elif (now := hashlib.sha256(path.read_bytes()).hexdigest()) != self._files.setdefault(key, now):
                    self.wrong.append(f"trial {number}: {name} is another file")

    def _read_rungs(self, rows: dict[int, dict[str, Any]]) -> None:
        waiting = plans_of(self.study, set(rows))
        for number, rungs in self._rungs.items():
            now = rows.get(number) or waiting.get(number)
            if now is None:
                self.lost.append(f"trial {number}, which was under way, is no longer there")
            elif tuple(now.get("rungs", ()))[: len(rungs)] != rungs and now["state"] != "failed":
                self.lost.append(f"trial {number} lost a rung")
        self._rungs = {number: tuple(trial.get("rungs", ())) for number, trial in waiting.items()}
        for path in (self.study / "checkpoints").glob("*.json"):
            written = path.stat().st_mtime_ns
            if self._looks.setdefault(path.name, written) != written:
                self.again += 1
                self._looks[path.name] = written

    def check_files(self) -> None:
        """Run every model file over the samples of its study, and compare with what it answered once."""
        import onnxruntime

        samples = np.load(self.study / "samples.npz")
        inputs = [samples[name] for name in samples.files if name.startswith("input:")]
        for number, row in self._rows.items():
            folder = self.study / "trials" / f"{number:04d}"
            if row["state"] != "finished" or not (folder / "model.onnx").exists():
                continue
            try:
                session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
                got = session.run(None, dict(zip([i.name for i in session.get_inputs()], inputs, strict=True)))[0]
                with np.load(folder / "answers.npz") as kept:
                    expected = kept[kept.files[0]]
                if np.abs(got - expected).max() > TOLERANCE * max(1.0, float(np.abs(expected).max())):
                    self.wrong.append(f"trial {number}: its file answers otherwise than when it was measured")
            except Exception as error:  # whatever a damaged file makes of its readers
                self.wrong.append(f"trial {number}: its files cannot be used ({str(error)[:80]})")

    @property
    def failed(self) -> dict[int, str]:
        """The trials that failed, with their reasons; in this study none fails by itself."""
        return {number: row["reason"] for number, row in self._rows.items() if row["state"] == "failed"}

    @property
    def finished(self) -> dict[str, dict[str, Any]]:
        """The finished trials by their plan."""
        done = (row for row in self._rows.values() if row["state"] == "finished")
        return {json.dumps(row["plan"], sort_keys=True): row for row in done}


def rows_of(study: Path) -> list[dict[str, Any]]:
    """Return the trials that ended, as the database has them."""
    path = study / "study.db"
    if not path.exists():
        return []
    with sqlite3.connect(path, timeout=60) as connection:
        try:
            found = [json.loads(json.loads(text)) for (text,) in connection.execute(ROWS)]
        except sqlite3.OperationalError:  # killed before its tables were made
            found = []
    connection.close()
    return found


def plans_of(study: Path, ended: set[int]) -> dict[int, dict[str, Any]]:
    """Return the trials that were begun and have not ended, by number."""
    found = {}
    for path in sorted((study / "trials").glob("*/plan.json")):
        if int(path.parent.name) not in ended and path.stat().st_size:
            trial = json.loads(path.read_bytes())
            found[int(path.parent.name)] = trial
    return found
