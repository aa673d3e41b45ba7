"""Storage: what was measured is there after anything that can happen to a process or a disk."""

from __future__ import annotations

import os
import signal
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
        store.begin(a_trial(number))
    store.end(a_trial(2), [0.9, 1.0], SPACE)
    assert [t.number for t in a_store(tmp_path).interrupted()] == [1, 3, 11]


WRITER = """
import sys; from pathlib import Path
sys.path[:0] = {paths!r}
from test_storage import a_store, a_trial, end
store = a_store(Path({folder!r}))
for number in range(1, 10_000):
    store.begin(a_trial(number))
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
    assert [t.number for t in store.ended()] == list(range(1, number))


def test_a_json_file_that_is_none_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"a": ')
    with pytest.raises(StorageError, match=r"x\.json: cannot be read") as caught:
        read_json(tmp_path / "x.json")
    assert "\n" not in str(caught.value)
    assert read_json(tmp_path / "absent.json") is None


def test_a_waiting_trial_that_is_no_trial_is_told_in_one_line(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    write_json(tmp_path / "trials" / "0003" / "plan.json", {"number": "three"})
    with pytest.raises(StorageError, match="holds no trial") as caught:
        store.interrupted()
    assert "\n" not in str(caught.value)


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
