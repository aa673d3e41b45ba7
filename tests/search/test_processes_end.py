"""Processes of a search end with it, however it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from brief import brief_command
from sessions import processes_of_session

from autocompress.search.report.reading import read_front
from autocompress.search.trial import TrialState
from autocompress.temporary import OWNER, PREFIX, sweep_temporary, temporary_folder

LIMIT_S = 10.0

PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], start_new_session=True, stdout=subprocess.PIPE, text=True)
print(child.pid, child.stdout.readline().strip(), flush=True)
child.wait()
"""
CHILD = """
import os, time
from autocompress import parent
parent._watched_by_kernel = {watched}
parent.LOOK_S = 0.2
parent.end_with_parent(os.getppid())
print("ready", flush=True)
time.sleep(120)
"""


def gone_in_time(pids: set[int]) -> bool:
    until = time.monotonic() + LIMIT_S
    while time.monotonic() < until:
        if not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids):
            return True
        time.sleep(0.1)
    return False


@pytest.mark.skipif(sys.platform == "win32", reason="processes are not adopted there")
@pytest.mark.parametrize("watched", ["parent._watched_by_kernel", "lambda: False"], ids=["kernel", "thread"])
def test_a_child_ends_when_its_parent_is_killed(watched: str) -> None:
    code = CHILD.format(watched=watched)
    with subprocess.Popen([sys.executable, "-c", PARENT, code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        child, said = process.stdout.readline().split()
        assert said == "ready"
        process.kill()
    assert gone_in_time({int(child)})


def test_a_timing_process_whose_parent_is_gone_does_not_begin() -> None:
    nobody = subprocess.Popen([sys.executable, "-c", ""])
    nobody.wait()
    command = [sys.executable, "-P", "-m", "autocompress.evaluators.timing.child", str(nobody.pid)]
    done = subprocess.run(command, input="{}", capture_output=True, text=True, timeout=60)
    assert done.returncode in (1, -signal.SIGKILL) and not done.stdout


KILLED_IN_IT = """
import os, time
from autocompress.temporary import temporary_folder
with temporary_folder() as folder:
    print(folder, flush=True)
    {then}
"""


@pytest.mark.skipif(sys.platform == "win32", reason="locks are not told apart there")
def test_temporary_folders_of_killed_processes_are_swept_and_those_in_use_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("autocompress.temporary.YOUNG_S", -60)
    own = {**os.environ, "TMPDIR": str(tmp_path)}
    code = KILLED_IN_IT.format(then="os.kill(os.getpid(), 9)")
    done = subprocess.run([sys.executable, "-c", code], env=own, capture_output=True, text=True)
    left = Path(done.stdout.strip())
    assert done.returncode == -signal.SIGKILL and (left / OWNER).exists()
    (tmp_path / f"{PREFIX}of-another-kind").mkdir()
    (tmp_path / f"{PREFIX}of-another-kind" / "file").write_text("something")
    (tmp_path / f"{PREFIX}half-removed").mkdir()
    used = subprocess.Popen(
        [sys.executable, "-c", KILLED_IN_IT.format(then="time.sleep(60)")], env=own, stdout=subprocess.PIPE, text=True
    )
    with used, temporary_folder() as mine:
        assert used.stdout is not None
        theirs = Path(used.stdout.readline().strip())
        sweep_temporary()
        assert not left.exists() and mine.exists() and theirs.exists()
        assert (tmp_path / f"{PREFIX}of-another-kind").exists(), "nobody says whose it is"
        assert not (tmp_path / f"{PREFIX}half-removed").exists(), "a kill in the midst of its removal left it"
        used.kill()
    assert not mine.exists()


def study_file(tiny_task: Path, folder: Path) -> Path:
    path = folder / "tiny_task.toml"
    path.write_text(
        f"""
        [task]
        from = "{tiny_task}"
        [target]
        profile_seconds = 0
        precision = 0.5
        [recovery]
        epochs = 2.0
        rungs = [0.5, 1.0]
        batch_size = 64
        [space]
        axes = ["channels", "bits", "recovery"]
        [search]
        without = ["latency_model", "sensitivity", "initial_design"]
        """
    )
    return path


class Search:
    """A search with two workers, in a session of its own."""

    def __init__(self, *arguments: object) -> None:
        command = brief_command("search", *arguments, "--workers", 2, "--quiet")
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            command, stdout=pipe, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
        self.said = ""

    def wait_for_trials(self, count: int) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line
            count -= bool(re.search(r"\] trial \d+ \(", line))
            if not count:
                return
        raise AssertionError(f"it ended early:\n{self.said}")

    def tree(self) -> set[int]:
        return {child.pid for child in psutil.Process(self.process.pid).children(recursive=True)}

    def end(self) -> int:
        assert self.process.stdout is not None
        self.said += self.process.stdout.read()
        code = self.process.wait()
        assert not processes_of_session(self.process.pid), "not even one that ended and was not waited for"
        return code


@pytest.mark.slow
def test_sigterm_ends_a_search_with_its_front_and_nothing_outlives_it(tiny_task: Path, tmp_path: Path) -> None:
    """What becomes of one whose driver or worker is killed is asked in `test_faults.py`."""
    search = Search(study_file(tiny_task, tmp_path), "--batch", 32, "--trials", 60, "--runs", tmp_path)
    search.wait_for_trials(3)
    tree = search.tree()
    assert len(tree) >= 2
    commands = [psutil.Process(pid).cmdline() for pid in tree if psutil.pid_exists(pid)]
    trackers = [command for command in commands if "resource_tracker" in " ".join(command)]
    assert trackers and all("-Wignore:resource_tracker:UserWarning" in command for command in trackers)
    begun = time.monotonic()
    search.process.send_signal(signal.SIGTERM)
    assert search.end() == 0
    assert time.monotonic() - begun < 3 * LIMIT_S, "on a machine that does other things beside"
    assert gone_in_time(tree)
    assert "ending now (SIGTERM)" in search.said and "Traceback" not in search.said
    assert "model.onnx" in search.said and "no time was left to confirm" in search.said, "the front is printed"
    front = read_front(tmp_path / "tiny_task")
    assert front.trials and all(trial.state is not TrialState.FAILED for trial in front.trials)
    assert not list(tmp_path.rglob(".part-*"))
