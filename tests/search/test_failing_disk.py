"""A disk that fails, or a network's disk that is out of reach: one line, and nothing is taken for damaged."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from stored_trials import a_store, a_trial, end

from autocompress.errors import StorageError
from autocompress.files import disk_errors, move, read_json, write_json
from autocompress.search.store.lock import locked
from autocompress.search.store.sqlite_file import reason
from autocompress.search.trial import TrialState

FAILS = Path("/proc/self/mem")
"""Linux answers a read of its first bytes as a dying disk does."""
pytestmark = pytest.mark.skipif(not FAILS.exists(), reason="no file here fails as a dying disk does")


@pytest.mark.parametrize("name", ["EIO", "ESTALE", "ETIMEDOUT", "ENXIO", "ENOTEMPTY"])
def test_each_way_in_which_a_disk_fails_is_one_line(tmp_path: Path, name: str) -> None:
    number = getattr(errno, name)
    with pytest.raises(StorageError) as caught, disk_errors(tmp_path / "x"):
        raise OSError(number, os.strerror(number))
    assert os.strerror(number) in str(caught.value) and "\n" not in str(caught.value)
    assert ("the disk gives an error" in str(caught.value)) == (name != "ENOTEMPTY")


@pytest.mark.parametrize("name", ["ENOLCK", "EOPNOTSUPP"])
def test_a_disk_on_which_nothing_can_be_locked_is_one_line(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a network's disk that is mounted without locks."""
    number = getattr(errno, name)

    def refused(handle: int, how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refused)
    with pytest.raises(StorageError, match=f"{os.strerror(number)}.*choose") as caught, locked(tmp_path):
        raise AssertionError
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_that_the_disk_does_not_give_is_not_taken_for_damaged(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    end(store, a_trial(1))
    store.begin(a_trial(2, TrialState.RUNNING))
    plan = tmp_path / "trials" / "0002" / "plan.json"
    whole = plan.read_bytes()
    plan.unlink()
    plan.symlink_to(FAILS)
    for read in (lambda: read_json(plan), store.interrupted):
        with pytest.raises(StorageError, match=r"plan\.json: the disk gives an error .*run the same command") as caught:
            read()
        assert "delete" not in str(caught.value) and "\n" not in str(caught.value)
    assert plan.is_symlink(), "it was not put aside"
    plan.unlink()
    plan.write_bytes(whole)
    assert [t.number for t in a_store(tmp_path).interrupted()] == [2]
    assert "repair" not in reason(tmp_path / "study.db", OSError("disk I/O error"))


def test_what_did_not_reach_the_disk_is_not_said_to_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(handle: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    (tmp_path / "model.onnx").write_bytes(b"new")
    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(StorageError, match="the disk gives an error"):
        write_json(tmp_path / "x.json", {})
    with pytest.raises(StorageError, match="the disk gives an error"), disk_errors(tmp_path):
        move(tmp_path / "model.onnx", tmp_path / "there.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]


COMMAND = """
import click, sys
from autocompress.cli.app import Commands

@click.group(cls=Commands)
def main():
    pass

@main.command()
def look():
    if sys.argv[2:] == ["print"]:
        print("x" * 100_000, flush=True)
    open("/proc/self/mem", "rb").read()

main(["look"])
"""


def test_a_failing_disk_is_told_where_there_is_no_terminal_and_a_closed_terminal_is_not_one() -> None:
    command = [sys.executable, "-c", COMMAND, "look"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and "the disk gives an error" in done.stderr
    ours, theirs = pty.openpty()
    os.close(ours)
    try:
        closed = subprocess.run([*command, "print"], stdout=theirs, stderr=theirs, check=False)
    finally:
        os.close(theirs)
    assert closed.returncode == 0
