"""A store that was damaged, filled, locked or killed: what was measured stays, and one line says what is wrong."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from stored_trials import ENDED, a_store, a_trial, end, held

from autocompress.errors import StorageError
from autocompress.files import PARTIAL, read_json, sweep, write_bytes, write_json
from autocompress.search.store.database import read_trials
from autocompress.search.trial import TrialState
from autocompress.spaces.plain import to_plain


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["rubbish", "cut", "other"])
def test_a_database_that_cannot_be_used_is_told_in_one_line(tmp_path: Path, damage: str) -> None:
    store = a_store(tmp_path)
    for number in range(1, 30):
        end(store, a_trial(number))
    del store
    for beside in tmp_path.glob("study.db-*"):
        beside.unlink()
    path = tmp_path / "study.db"
    content = path.read_bytes()
    if damage == "other":
        import sqlite3

        path.unlink()
        with sqlite3.connect(path) as connection:
            connection.execute("create table trials (mine text)")
        connection.close()
    else:
        path.write_bytes(b"rubbish" * 1000 if damage == "rubbish" else content[: len(content) // 2])
    with pytest.raises(StorageError, match=r"study\.db") as caught:
        end(a_store(tmp_path), a_trial(99))
        a_store(tmp_path).ended()
    assert "\n" not in str(caught.value) and "--fresh" in str(caught.value)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of one megabyte."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no small file system can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_gives_one_line_and_no_half_file(small_disk: Path) -> None:
    write_json(small_disk / "kept.json", {"a": 1})
    with pytest.raises(StorageError, match="the disk is full") as caught:
        write_bytes(small_disk / "model.onnx", b"x" * 2_000_000)
    assert "\n" not in str(caught.value)
    with pytest.raises(StorageError, match="the disk is full"):
        write_bytes(small_disk / "kept.json", b"x" * 2_000_000)
    assert [p.name for p in small_disk.iterdir()] == ["kept.json"]
    assert read_json(small_disk / "kept.json") == {"a": 1}, "the old content is whole"


@pytest.mark.slow
def test_a_disk_that_fills_up_keeps_the_trials_before(small_disk: Path) -> None:
    store = a_store(small_disk)
    number = 0
    with pytest.raises(StorageError, match="the disk is full") as caught:
        for number in range(1, 5000):
            end(store, a_trial(number))
    assert "\n" not in str(caught.value)
    # its own files may have had room for the last one
    assert [t.number for t in store.ended()] in (list(range(1, number)), list(range(1, number + 1)))


def test_a_json_file_that_is_none_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"a": ')
    with pytest.raises(StorageError, match=r"x\.json: cannot be read") as caught:
        read_json(tmp_path / "x.json")
    assert "\n" not in str(caught.value)
    assert read_json(tmp_path / "absent.json") is None


@pytest.mark.parametrize("content", ["", "{}", '{"number": "three"}', '{"number": 3'])
def test_a_plan_that_cannot_be_read_costs_its_trial_alone(
    tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = a_store(tmp_path)
    for number in range(1, 6):
        store.begin(a_trial(number, TrialState.RUNNING))
    plan = tmp_path / "trials" / "0003" / "plan.json"
    plan.write_text(content)
    assert [t.number for t in a_store(tmp_path).interrupted()] == [1, 2, 4, 5]
    (said,) = [record.getMessage() for record in caplog.records]
    assert "trial 3" in said and str(plan) in said and "\n" not in said
    assert not plan.exists() and plan.with_name("plan.json.unreadable").read_text() == content
    assert a_store(tmp_path).next_number() == 6


def test_rows_of_others_and_of_later_versions_cost_at_most_their_trial(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import json

    import optuna

    store = a_store(tmp_path)
    for number in (1, 2, 3, 4):
        end(store, a_trial(number))
    study = optuna.load_study(study_name="study", storage=f"sqlite:///{store.folder / 'study.db'}")
    study.add_trial(optuna.trial.create_trial(values=[0.5, 1.0]))  # as `optuna ask` and dashboards leave them
    with sqlite3.connect(store.folder / "study.db") as database:
        for number, changes in ((2, {"fate": "of a later version"}), (3, {"state": "eaten"})):
            old = to_plain(a_trial(number))
            new = (json.dumps(json.dumps(old | changes)), json.dumps(json.dumps(old)))
            database.execute("UPDATE trial_user_attributes SET value_json = ? WHERE value_json = ?", new)
    for trials in (a_store(tmp_path).ended(), read_trials(tmp_path, "study")):
        assert trials == [a_trial(1), a_trial(2), a_trial(4)]
    (said,) = [record.getMessage() for record in caplog.records]
    assert "trial 3" in said and "\n" not in said
    assert a_store(tmp_path).next_number() == 5, "its number is not given again"


def test_a_lost_database_is_made_anew_from_the_trials_own_files(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = a_store(tmp_path)
    trials = [replace(a_trial(n, state), ended_s=10.0 - n) for n, state in enumerate(ENDED, 1)]
    for trial in trials:
        end(store, trial)
    store.begin(a_trial(20, TrialState.RUNNING))
    # a study of an earlier version: measured, with a plan from before that
    store.begin(replace(a_trial(21, TrialState.WAITING)))
    write_json(tmp_path / "trials" / "0021" / "measurement.json", to_plain(a_trial(21).measured))
    store.close()
    (tmp_path / "study.db").unlink()
    with pytest.raises(StorageError, match=r"study\.db: is missing.* repair") as caught:
        read_trials(tmp_path, "study")
    assert "\n" not in str(caught.value) and not (tmp_path / "study.db").exists()
    again = a_store(tmp_path)
    *known, old = sorted(again.ended(), key=lambda t: t.number)
    assert known == trials and old.number == 21 and old.finished and old.measured == a_trial(21).measured
    assert [t.number for t in again.interrupted()] == [20]
    assert read_trials(tmp_path, "study") == again.ended()
    assert any("made anew with" in record.getMessage() for record in caplog.records)


def test_a_trial_that_ended_just_before_a_crash_gets_its_row(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    end(store, a_trial(1))
    store.begin(a_trial(2))  # written whole, and then the process died
    again = a_store(tmp_path)
    assert again.ended() == [a_trial(1), a_trial(2)] and not again.interrupted()


def test_a_database_that_others_hold_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autocompress.search.store.sqlite_file.BUSY_S", 0.5)
    store = a_store(tmp_path)
    end(store, a_trial(1))
    with held(store.folder / "study.db", 2.0):
        end(store, a_trial(2))
        assert not store._unwritten, "it waited, and wrote the row"
    assert a_store(tmp_path).ended() == [a_trial(1), a_trial(2)]


def test_a_database_that_stays_locked_costs_no_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in (("sqlite_file.BUSY_S", 0.1), ("patience.PATIENCE_S", 0.5), ("sqlite_file.READER_S", 0.5)):
        monkeypatch.setattr(f"autocompress.search.store.{name}", value)
    store = a_store(tmp_path)
    end(store, a_trial(1))
    with held(store.folder / "study.db", 60):
        end(store, a_trial(2))
        end(store, a_trial(3))
        with pytest.raises(StorageError, match="locked by another program") as caught:
            read_trials(tmp_path, "study")
        assert "--fresh" not in str(caught.value) and "\n" not in str(caught.value)
        with pytest.raises(StorageError, match="locked"):
            a_store(tmp_path)
    said = [record.getMessage() for record in caplog.records]
    assert any("locked" in line for line in said)
    assert not any(line.startswith("autocompress: ") for line in said if "waited for" in line), "a wait is no error yet"
    end(store, a_trial(4))
    assert [t.number for t in read_trials(tmp_path, "study")] == [1, 2, 3, 4]


def test_a_database_that_is_gone_for_a_while_is_not_made_anew_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autocompress.search.store.patience.PATIENCE_S", 0.2)
    store = a_store(tmp_path)
    end(store, a_trial(1))
    path, away = tmp_path / "study.db", tmp_path / "away.db"
    path.rename(away)
    end(store, a_trial(2))
    assert not path.exists()
    away.rename(path)
    end(store, a_trial(3))
    assert [t.number for t in read_trials(tmp_path, "study")] == [1, 2, 3]


def content_of(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("way", ["as written", "with a log", "with a log of a killed process", "with a hot journal"])
def test_reading_writes_nothing(tmp_path: Path, way: str) -> None:
    """However an earlier version, or a killed process, left the database."""
    study, log = tmp_path / "study", "PRAGMA journal_mode=WAL"
    study.mkdir()
    store = a_store(study)
    for number in (1, 2, 3):
        end(store, a_trial(number))
    store.close()
    path = store.folder / "study.db"
    if way == "with a log":
        connection = sqlite3.connect(path)
        connection.execute(log)
        connection.close()
    elif way != "as written":
        hot = "PRAGMA cache_size=1" if way == "with a hot journal" else log
        change = "UPDATE trial_user_attributes SET value_json = value_json || ' '"
        code = f"import sqlite3, sys, os\nc = sqlite3.connect(sys.argv[1])\nc.execute('{hot}')\n"
        code += f'c.execute("{change}")\n' + ("" if way == "with a hot journal" else "c.commit()\n") + "os._exit(0)"
        subprocess.run([sys.executable, "-c", code, str(path)], check=True)
        for beside in study.glob("study.db-shm"):
            beside.unlink()  # as in a copy
    before = content_of(study)
    assert [t.number for t in read_trials(study, "study")] == [1, 2, 3]
    assert content_of(study) == before


def test_what_killed_processes_left_unfinished_is_swept_and_nothing_else(tmp_path: Path) -> None:
    kept = [tmp_path / "trials" / "0001" / "model.onnx", tmp_path / "part-of-it.json"]
    left = [
        tmp_path / "targets" / "here" / f"{PARTIAL}gate" / "model.onnx",
        tmp_path / "trials" / f"{PARTIAL}1-model.xml",
    ]
    for path in (*kept, *left):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    sweep(tmp_path)
    assert all(path.exists() for path in kept)
    assert not any(PARTIAL in path.name for path in tmp_path.rglob("*"))


def test_a_process_killed_while_writing_a_file_leaves_only_what_is_swept(tmp_path: Path) -> None:
    script = "import os, sys; from autocompress import files; os.fsync = lambda fd: os.kill(os.getpid(), 9); "
    script += "files.write_bytes(files.Path(sys.argv[1]), b'new')"
    path = tmp_path / "model.json"
    path.write_bytes(b"old")
    assert subprocess.run([sys.executable, "-c", script, str(path)], check=False).returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 2
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == [path]
