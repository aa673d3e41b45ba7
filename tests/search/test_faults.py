"""A short form of `benchmarks/faults.py`: one study whose driver, worker and timing process are killed."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import pytest
from brief import brief_command

from benchmarks.fault_injection.arena import Arena, Run
from benchmarks.fault_injection.ledger import Ledger
from benchmarks.fault_injection.signals import Signals


@pytest.mark.slow
def test_a_search_whose_processes_are_killed_loses_nothing(tmp_path: Path) -> None:
    """Two searches of a real task: killed in turn, then resumed to their end, and held against what they said."""
    arena = replace(Arena.make(tmp_path, workers=2), program=tuple(brief_command()))
    sender = Signals(arena, "SIGKILL", signal.SIGKILL, 4.0, seed=1, settles_s=4.0)
    for role in ("timing", "worker", "driver"):
        sender.send(role)
    last = sender.finish(2)
    assert last.process.returncode == 0, last.text()
    for row in sender.rows.values():
        assert row.times and not row.lost and not row.wrong, row.lines()
    assert sender.ledger.finished


def test_a_ledger_sees_what_is_lost_and_what_is_wrong(tmp_path: Path) -> None:
    """The judge is judged: rows that vanish or change, files that are cut, rungs that are trained anew."""
    import json
    import os
    import sqlite3

    database = sqlite3.connect(tmp_path / "study.db")
    database.execute("CREATE TABLE trial_user_attributes (trial_id INTEGER, key TEXT, value_json TEXT)")

    def write(*trials: dict[str, object]) -> None:
        database.execute("DELETE FROM trial_user_attributes")
        rows = [(i, "trial", json.dumps(json.dumps(trial))) for i, trial in enumerate(trials)]
        database.executemany("INSERT INTO trial_user_attributes VALUES (?, ?, ?)", rows)
        database.commit()

    def trial(number: int, state: str = "gated", **more: object) -> dict[str, object]:
        return {"number": number, "plan": {"n": number}, "state": state, "reason": "", "rungs": [], **more}

    folder = tmp_path / "trials" / "0002"
    folder.mkdir(parents=True)
    for name in ("model.onnx", "measurement.json", "answers.npz"):
        (folder / name).write_bytes(b"whole")
    look = tmp_path / "checkpoints" / "key-0.key.json"
    look.parent.mkdir()
    look.write_text("{}")
    waits = tmp_path / "trials" / "0003" / "plan.json"
    waits.parent.mkdir()
    waits.write_text(json.dumps(trial(3, "waiting", rungs=[0.5])))

    ledger = Ledger(tmp_path)
    write(trial(1), trial(2, "finished"))
    ledger.read()
    ledger.read()
    assert not ledger.lost and not ledger.wrong and not ledger.again
    write(trial(2, "finished"), trial(2, "finished"))
    (folder / "model.onnx").write_bytes(b"")
    (folder / "answers.npz").unlink()
    waits.write_text(json.dumps(trial(3, "waiting")))
    os.utime(look, ns=(1, 1))
    ledger.read()
    assert sorted(ledger.lost) == ["trial 1 is no longer there", "trial 2: answers.npz is gone", "trial 3 lost a rung"]
    assert sorted(ledger.wrong) == [
        "one plan was tried twice",
        "trial 2 is there 2 times",
        "trial 2: model.onnx is another file",
    ]
    assert ledger.again == 1


def test_what_a_search_reports_is_read_from_its_lines() -> None:
    import subprocess
    import sys

    lines = r"[0:01] trial 3 (move of 2): finished, accuracy 1\n[0:02] trial 4 (teacher (int8)): gated, over\nnothing\n"
    process = subprocess.Popen([sys.executable, "-c", f"print('{lines}')"], stdout=subprocess.PIPE, text=True)
    run = Run(process)
    assert run.wait_for_end(30.0) == 0
    assert run.reported() == [(3, "finished"), (4, "gated")]
    assert run.complaint == ""
