"""Storage: what was measured is there after anything that can happen to a process or a disk."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_spaces import chain

from autocompress.errors import StorageError
from autocompress.evaluators.measurement import Latency, Measurement
from autocompress.files import PARTIAL, read_json, sweep, write_bytes, write_json
from autocompress.search.store.rows import read_trials
from autocompress.search.store.trials import TrialStore
from autocompress.search.trial import Origin, Trial, TrialState, WarmStart
from autocompress.spaces.plain import from_plain, to_plain
from autocompress.spaces.plan import Plan
from autocompress.spaces.spec import Pattern, Recovery, StudentSpec

OBJECTIVES = ("accuracy", "latency_ms")
HERE = Path(__file__).parent


def a_latency(p50_ms: float = 1.0) -> Latency:
    conditions = {"cpu": "a machine", "threads": 1}
    return Latency(
        p50_ms, p50_ms * 0.9, p50_ms * 1.1, p50_ms * 1.2, p50_ms * 1.3, p50_ms * 1.4, p50_ms,
        0.5, 0.4, 0.6, 100, 10, 1, False, 3.0, 40.0, conditions,
    )  # fmt: skip


def a_trial(number: int, state: TrialState = TrialState.FINISHED) -> Trial:
    measured = {}
    if state is TrialState.FINISHED:
        measured = {"onnxruntime": Measurement(0.9, a_latency(), 12345, 6789, {"Conv": 3}, "")}
    spec = StudentSpec({"c0": number}, {"c1": 8}, {"c2": Pattern("2:4", 0.5)}, Recovery(quantization_aware=True))
    return Trial(
        number,
        Plan({"channels:c0": 16, "bits:c0": 8, "recovery:method": "full", "recovery:alpha": 0.25}),
        spec,
        Origin.SEARCH,
        "search",
        state,
        latent={"channels.level": 0.5, "bits:c0": "8"},
        gate={"onnxruntime": a_latency(), "openvino": a_latency(2.0)},
        gate_bytes=4000,
        first_look=0.25,
        warm_start=WarmStart(1, StudentSpec({"c0": 8}), "abc-1.pt"),
        rungs=(0.5, 0.75),
        measured=measured,
        reason="" if measured else "over the budget",
        seconds={"training": 1.5},
        seed=3,
    )


SPACE = chain([32, 48, 10])


def a_store(folder: Path) -> TrialStore:
    return TrialStore(folder, "study", OBJECTIVES)


def end(store: TrialStore, trial: Trial) -> None:
    store.begin(trial)
    store.end(trial, [0.9, 1.0] if trial.finished else None, SPACE)


ENDED = [state for state in TrialState if state.ended]


@pytest.mark.parametrize("state", ENDED)
def test_a_trial_comes_back_as_it_was(tmp_path: Path, state: TrialState) -> None:
    store = a_store(tmp_path)
    plain = replace(a_trial(2, state), plan=Plan(), spec=StudentSpec(), latent=None, gate={}, rungs=(), warm_start=None)
    trials = [a_trial(1, state), plain]
    for trial in trials:
        end(store, trial)
    assert store.ended() == trials == a_store(tmp_path).ended()
    assert not store.interrupted()


def test_a_trial_is_an_optuna_trial_with_its_decisions(tmp_path: Path) -> None:
    """Whoever likes Optuna's own tools can look at a study with them."""
    import optuna

    store = a_store(tmp_path)
    end(store, a_trial(1))
    (row,) = optuna.load_study(study_name="study", storage=f"sqlite:///{store.path}").trials
    assert row.values == [0.9, 1.0] and row.params.keys() == {v.name for v in SPACE}
    assert row.params["channels:c0"] == 16 and row.params["channels:c1"] == 48, (
        "the teacher's own, where nothing is said"
    )
    assert row.params["recovery:alpha"] == 0.25


@pytest.mark.parametrize("state", ENDED)
def test_a_row_is_what_optuna_itself_would_write(tmp_path: Path, state: TrialState) -> None:
    import optuna

    store, trial = a_store(tmp_path), a_trial(1, state)
    end(store, trial)
    study = optuna.load_study(study_name="study", storage=f"sqlite:///{store.path}")
    (row,) = study.trials
    other = optuna.create_study(storage=f"sqlite:///{tmp_path / 'other.db'}", directions=study.directions)
    other.add_trial(row)
    (same,) = other.trials
    for name in ("number", "state", "values", "params", "distributions", "user_attrs", "system_attrs"):
        assert getattr(row, name) == getattr(same, name), name
    assert row.datetime_start is not None and row.datetime_complete is not None
    assert set(row.user_attrs) == {"trial", "origin"}


def test_interrupted_trials_come_oldest_first_beyond_9999(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    for number in (10001, 9999, 10000, 200):
        store.begin(a_trial(number, TrialState.RUNNING))
    assert [trial.number for trial in store.interrupted()] == [200, 9999, 10000, 10001]


def test_a_trial_of_a_space_that_has_other_options_now_is_kept_too(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    end(store, a_trial(1))
    other = chain([32, 64, 10])
    store.begin(a_trial(2))
    store.end(a_trial(2), [0.9, 1.0], other)
    assert store.ended() == [a_trial(1), a_trial(2)]


@given(st.floats(0.001, 1000), st.lists(st.floats(0, 1), max_size=3), st.text(max_size=20), st.sampled_from(TrialState))
def test_records_survive_json_exactly(p50_ms: float, rungs: list[float], reason: str, state: TrialState) -> None:
    import json

    trial = replace(a_trial(7, state), gate={"x": a_latency(p50_ms)}, rungs=tuple(rungs), reason=reason)
    assert from_plain(Trial, json.loads(json.dumps(to_plain(trial)))) == trial


def test_what_was_begun_and_never_ended_is_listed_in_order(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    for number in (1, 2, 3, 11):
        store.begin(a_trial(number, TrialState.RUNNING))
    store.end(a_trial(2), [0.9, 1.0], SPACE)
    assert [t.number for t in a_store(tmp_path).interrupted()] == [1, 3, 11]


WRITER = """
import sys; from pathlib import Path
sys.path[:0] = {paths!r}
from test_storage import TrialState, a_store, a_trial, end
store = a_store(Path({folder!r}))
for number in range(1, 10_000):
    store.begin(a_trial(number, TrialState.RUNNING))
    print(number, flush=True)
    end(store, a_trial(number))
"""


@pytest.mark.slow
def test_a_process_killed_while_writing_leaves_every_earlier_trial(tmp_path: Path) -> None:
    code = WRITER.format(paths=[str(HERE), str(HERE.parent / "helpers")], folder=str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        begun = 0
        for line in process.stdout:
            begun = int(line)
            if begun == 12:
                process.send_signal(signal.SIGKILL)
                break
        begun = max([begun, *map(int, process.stdout.read().split())])
    store = a_store(tmp_path)
    ended = store.ended()
    assert [t.number for t in ended] == list(range(1, len(ended) + 1)) and len(ended) >= 11
    assert all(trial == a_trial(trial.number) for trial in ended), "whole, each of them"
    assert [t.number for t in store.interrupted()] == list(range(len(ended) + 1, begun + 1))
    end(store, a_trial(500))
    assert store.ended()[-1].number == 500, "and the study goes on"


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
    study = optuna.load_study(study_name="study", storage=f"sqlite:///{store.path}")
    study.add_trial(optuna.trial.create_trial(values=[0.5, 1.0]))  # as `optuna ask` and dashboards leave them
    with sqlite3.connect(store.path) as database:
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


HOLDER = """
import sqlite3, sys, time
held = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
held.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
time.sleep(float(sys.argv[2]))
"""


@contextlib.contextmanager
def held(path: Path, seconds: float) -> Iterator[None]:
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(path), str(seconds)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.kill()


def test_a_database_that_others_hold_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autocompress.search.store.database.BUSY_S", 0.5)
    store = a_store(tmp_path)
    end(store, a_trial(1))
    with held(store.path, 2.0):
        end(store, a_trial(2))
    assert a_store(tmp_path).ended() == [a_trial(1), a_trial(2)]


def test_a_database_that_stays_locked_costs_no_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in (("database.BUSY_S", 0.1), ("trials.PATIENCE_S", 0.5), ("rows.PATIENCE_S", 0.5)):
        monkeypatch.setattr(f"autocompress.search.store.{name}", value)
    store = a_store(tmp_path)
    end(store, a_trial(1))
    with held(store.path, 60):
        end(store, a_trial(2))
        end(store, a_trial(3))
        with pytest.raises(StorageError, match="locked by another program") as caught:
            read_trials(tmp_path, "study")
        assert "--fresh" not in str(caught.value) and "\n" not in str(caught.value)
        with pytest.raises(StorageError, match="locked"):
            a_store(tmp_path)
    assert any("locked" in record.getMessage() for record in caplog.records)
    end(store, a_trial(4))
    assert [t.number for t in read_trials(tmp_path, "study")] == [1, 2, 3, 4]


def test_a_database_that_is_gone_for_a_while_is_not_made_anew_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autocompress.search.store.trials.PATIENCE_S", 0.2)
    store = a_store(tmp_path)
    end(store, a_trial(1))
    away = tmp_path / "away.db"
    store.path.rename(away)
    end(store, a_trial(2))
    assert not store.path.exists()
    away.rename(store.path)
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
    path = store.path
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
