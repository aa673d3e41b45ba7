"""The database of a study: made whole or not at all, and rows that are written in place of others."""

from __future__ import annotations

import math
import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from stored_trials import HELPERS, SPACE, a_store, a_trial, end, held

from autocompress.errors import StorageError
from autocompress.search.store import sqlite_file
from autocompress.search.store.database import read_trials
from autocompress.search.store.sqlite_file import is_sound, reason
from autocompress.search.trial import TrialState

MAKER = """
import os, sys; from pathlib import Path
sys.path[:0] = {paths!r}
import sqlite3
from stored_trials import a_store
left, real = {left}, sqlite3.connect

class Dying(sqlite3.Connection):
    def commit(self):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), 9)
        super().commit()

sqlite3.connect = lambda *given, **more: real(*given, **more, factory=Dying)
store = a_store(Path({folder!r}))
"""


@pytest.mark.parametrize("commits", [0, 1, 3])
def test_a_process_killed_while_it_makes_the_database_costs_nothing(tmp_path: Path, commits: int) -> None:
    code = MAKER.format(paths=[str(HELPERS)], folder=str(tmp_path), left=commits)
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert not (tmp_path / "study.db").exists() and any(tmp_path.iterdir())
    (tmp_path / "study.db-journal").write_bytes(b"of a database that is lost")
    store = a_store(tmp_path)
    end(store, a_trial(1))
    store.close()
    assert read_trials(tmp_path, "study") == [a_trial(1)]
    assert {p.name for p in tmp_path.iterdir()} == {"study.db", "trials"}


@pytest.mark.parametrize("name", ["blocked-net", "interlocked", "unable to open"])
def test_a_folder_whose_name_says_so_is_not_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    path = folder / "study.db"
    path.write_bytes(b"rubbish" * 1000)
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("nobody is to be waited for"))
    with pytest.raises(StorageError, match="not a usable study database"):
        a_store(folder)
    refused = PermissionError(13, "Permission denied", str(path))
    assert "locked by" not in reason(path, refused) and "locked by" in reason(path, sqlite3.Error("database is locked"))


SAID = [
    ("database is locked", False),
    ("disk I/O error", False),
    ("unable to open database file", False),
    ("database or disk is full", False),
    ("out of memory", False),
    ("database disk image is malformed", True),
    ("file is not a database", True),
    ("no such table: studies", True),
]


@pytest.mark.parametrize("said, damaged", SAID)
def test_only_what_damage_says_is_taken_for_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, damaged: bool
) -> None:
    """`repair` puts a damaged database aside, and makes it anew."""

    def fails(path: Path) -> None:
        raise sqlite3.OperationalError(said)

    monkeypatch.setattr(sqlite_file, "_opened", fails)
    if damaged:
        assert not is_sound(tmp_path / "study.db")
        assert "repair" in reason(tmp_path / "study.db", sqlite3.OperationalError(said))
        return
    with pytest.raises(StorageError, match=r"study\.db: ") as caught:
        is_sound(tmp_path / "study.db")
    assert "repair" not in str(caught.value) and "run the same command again" in str(caught.value)


def test_a_row_is_written_in_place_of_another_and_as_others_are(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    trials = [a_trial(number) for number in range(1, 6)]
    for trial in trials:
        end(store, trial)
    again = [replace(t, label="measured anew") for t in trials]
    again[1] = replace(again[1], state=TrialState.FAILED, measured={}, reason="its file is gone")
    store.rewrite(again[0], [0.5, math.inf])
    store.rewrite(again[1], None)
    for trial in again[2:]:
        store.rewrite(trial, [0.5, 1.0])
    assert store.ended() == again == read_trials(tmp_path, "study") == a_store(tmp_path).ended()
    rows = optuna.load_study(study_name="study", storage=f"sqlite:///{store.folder / 'study.db'}").trials
    assert [row.values for row in rows[:3]] == [[0.5, math.inf], None, [0.5, 1.0]]
    assert rows[1].state is optuna.trial.TrialState.FAIL


def test_what_is_written_anew_is_not_undone_by_a_row_that_was_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("sqlite_file.BUSY_S", 0.1), ("patience.PATIENCE_S", 0.5)):
        monkeypatch.setattr(f"autocompress.search.store.{name}", value)
    store = a_store(tmp_path)
    end(store, a_trial(1))
    new = [replace(a_trial(number), label="measured anew") for number in (2, 3)]
    with held(store.folder / "study.db", 60):
        for number in (2, 3):
            store.end(a_trial(number), [0.9, 1.0], SPACE)
        store.rewrite(new[0], [0.9, 2.0])
    store.rewrite(new[1], [0.9, 2.0])
    assert store.ended() == [a_trial(1), *new]
    store.close()
    assert read_trials(tmp_path, "study") == [a_trial(1), *new]


def test_a_study_lies_in_a_folder_whose_name_is_no_utf_8(tmp_path: Path) -> None:
    """As those of a disk that was written with Latin-1."""
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    store = a_store(folder)
    end(store, a_trial(1))
    assert [trial.number for trial in a_store(folder).ended()] == [1]
