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

from autocompress.errors import StorageError
from autocompress.evaluators.measurement import Latency, Measurement
from autocompress.search.store.files import read_json, write_bytes, write_json
from autocompress.search.store.trials import Storage
from autocompress.search.trial import Trial
from autocompress.spaces.axes.base import Choice, Number, Parameter
from autocompress.spaces.plan import Pattern, Plan, Recovery

OBJECTIVES = ("accuracy", "latency_ms")
LATENT: dict[str, Parameter] = {"width": Number(0.1, 1.0), "bits_0": Choice(("32", "8"))}


def a_latency(p50_ms: float = 1.0) -> Latency:
    conditions = {"cpu": "a machine", "threads": 1}
    return Latency(
        p50_ms, p50_ms * 0.9, p50_ms * 1.1, p50_ms * 1.2, p50_ms * 1.3, p50_ms * 1.4, p50_ms,
        0.5, 0.4, 0.6, 100, 10, 1, False, 3.0, 40.0, conditions,
    )  # fmt: skip


def a_trial(number: int, outcome: str = "finished") -> Trial:
    measured = Measurement(0.9, a_latency(), 12345, 6789, {"Conv": 3}, "") if outcome == "finished" else None
    return Trial(
        number,
        Plan({"conv1": number}, {"conv2": 8}, {"conv3": Pattern("2:4", 0.5)}, Recovery(quantization_aware=True)),
        "search",
        outcome,  # type: ignore[arg-type]
        latent={"width": 0.5, "bits_0": "8"},
        gate=a_latency(),
        rungs=(0.5, 0.75),
        measurement=measured,
        reason="" if measured else "over the budget",
        seconds={"training": 1.5},
        seed=3,
    )


def end(storage: Storage, trial: Trial) -> None:
    storage.begin(trial)
    storage.end(trial, [0.9, 1.0] if trial.finished else None, LATENT)


@pytest.mark.parametrize("outcome", ["finished", "gated", "stopped", "failed"])
def test_a_trial_comes_back_as_it_was(tmp_path: Path, outcome: str) -> None:
    storage = Storage(tmp_path, "study", OBJECTIVES)
    trials = [a_trial(1, outcome), replace(a_trial(2, outcome), plan=Plan(), latent=None, gate=None, rungs=())]
    for trial in trials:
        end(storage, trial)
    assert storage.ended() == trials == Storage(tmp_path, "study", OBJECTIVES).ended()
    assert not storage.interrupted()


@given(st.floats(0.001, 1000), st.lists(st.floats(0, 1), max_size=3), st.text(max_size=20))
def test_records_survive_json_exactly(p50_ms: float, rungs: list[float], reason: str) -> None:
    trial = replace(a_trial(7), gate=a_latency(p50_ms), rungs=tuple(rungs), reason=reason)
    assert Trial.from_dict(trial.to_dict()) == trial


def test_what_was_begun_and_never_ended_is_listed_in_order(tmp_path: Path) -> None:
    storage = Storage(tmp_path, "study", OBJECTIVES)
    for number in (1, 2, 3, 11):
        storage.begin(a_trial(number))
    storage.end(a_trial(2), [0.9, 1.0], LATENT)
    assert [t.number for t in Storage(tmp_path, "study", OBJECTIVES).interrupted()] == [1, 3, 11]


WRITER = """
import sys; from pathlib import Path
sys.path.insert(0, {tests!r})
from test_storage import OBJECTIVES, Storage, a_trial, end
storage = Storage(Path({folder!r}), "study", OBJECTIVES)
for number in range(1, 10_000):
    storage.begin(a_trial(number))
    print(number, flush=True)
    end(storage, a_trial(number))
"""


def test_a_process_killed_while_writing_leaves_every_earlier_trial(tmp_path: Path) -> None:
    code = WRITER.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        begun = 0
        for line in process.stdout:
            begun = int(line)
            if begun == 12:
                process.send_signal(signal.SIGKILL)
                break
        begun = max([begun, *map(int, process.stdout.read().split())])
    storage = Storage(tmp_path, "study", OBJECTIVES)
    ended = storage.ended()
    assert [t.number for t in ended] == list(range(1, len(ended) + 1)) and len(ended) >= 11
    assert all(trial == a_trial(trial.number) for trial in ended), "whole, each of them"
    assert [t.number for t in storage.interrupted()] == list(range(len(ended) + 1, begun + 1))
    end(storage, a_trial(500))
    assert storage.ended()[-1].number == 500, "and the study goes on"


@pytest.mark.parametrize("damage", ["rubbish", "cut", "other"])
def test_a_database_that_cannot_be_used_is_told_in_one_line(tmp_path: Path, damage: str) -> None:
    storage = Storage(tmp_path, "study", OBJECTIVES)
    for number in range(1, 30):
        end(storage, a_trial(number))
    del storage
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
        end(Storage(tmp_path, "study", OBJECTIVES), a_trial(99))
        Storage(tmp_path, "study", OBJECTIVES).ended()
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


def test_a_disk_that_fills_up_keeps_the_trials_before(small_disk: Path) -> None:
    storage = Storage(small_disk, "study", OBJECTIVES)
    number = 0
    with pytest.raises(StorageError, match="the disk is full") as caught:
        for number in range(1, 5000):
            end(storage, a_trial(number))
    assert "\n" not in str(caught.value)
    assert [t.number for t in storage.ended()] == list(range(1, number))


def test_a_json_file_that_is_none_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"a": ')
    with pytest.raises(StorageError, match=r"x\.json: cannot be read") as caught:
        read_json(tmp_path / "x.json")
    assert "\n" not in str(caught.value)
    assert read_json(tmp_path / "absent.json") is None
