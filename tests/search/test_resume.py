"""Searches that are killed, interrupted and resumed; those that get signals run in processes of their own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from as_measured import as_measured
from brief import brief_command

from autocompress.search.report.reading import read_front
from autocompress.search.store.opening import begin_opening
from autocompress.search.store.settings import write_settings
from autocompress.search.store.trials import TrialStore
from autocompress.search.study import study_folder
from autocompress.search.trial import TrialState
from autocompress.studies.study_file import StudyFile


def test_a_fresh_study_never_takes_the_folder_of_another(tmp_path: Path) -> None:
    assert study_folder(tmp_path, "digits", fresh=False) == tmp_path / "digits"
    for wanted in ("digits", "digits-2", "digits-3"):
        folder = study_folder(tmp_path, "digits", fresh=True)
        assert folder == tmp_path / wanted
        folder.mkdir()
    assert study_folder(tmp_path, "digits", fresh=False) == tmp_path / "digits-3", "the latest is resumed"
    (tmp_path / "digits-2").rmdir()
    assert study_folder(tmp_path, "digits", fresh=False) == tmp_path / "digits-3", "whatever was deleted before it"
    assert study_folder(tmp_path, "digits", fresh=True) == tmp_path / "digits-4"
    (tmp_path / "digits-large").mkdir()
    (tmp_path / "dig[i]ts-7").mkdir()
    assert study_folder(tmp_path, "digits", fresh=True) == tmp_path / "digits-4", "those are others"
    assert study_folder(tmp_path, "dig[i]ts", fresh=True) == tmp_path / "dig[i]ts-8"


def test_a_study_whose_own_name_ends_in_a_number_is_no_later_one_of_another(tmp_path: Path) -> None:
    """As `resnet-50` beside `resnet`: one would else go on in the other's folder, under its own limits."""
    opened, begun = tmp_path / "net-2", tmp_path / "net-4"
    write_settings(opened, StudyFile().named("net-2"))
    begun.mkdir()
    begin_opening(begun, StudyFile().named("net-4"))
    assert study_folder(tmp_path, "net", fresh=False) == tmp_path / "net"
    for name in ("net", "net-3", "net-5"):
        folder = study_folder(tmp_path, "net", fresh=True)
        assert folder == tmp_path / name and not folder.exists()
        write_settings(folder, StudyFile().named("net"))
        assert study_folder(tmp_path, "net", fresh=False) == folder
    assert study_folder(tmp_path, "net-2", fresh=False) == opened


class Search:
    """A search in a process group of its own, so that all of it can be killed."""

    def __init__(self, *arguments: object) -> None:
        command = brief_command("search", *arguments)
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
        self.said: list[str] = []

    def lines(self) -> Iterator[str]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line)
            yield line

    def wait_for_trials(self, count: int) -> None:
        """Until so many trials of this run have ended."""
        ended = 0
        for line in self.lines():
            ended += bool(re.search(r"\] trial \d+ \(", line))
            if ended == count:
                return
        raise AssertionError(f"the search ended early:\n{''.join(self.said)}\n{self.errors()}")

    def errors(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.read()

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def end(self) -> int:
        for _ in self.lines():
            pass
        return self.process.wait()


def study_file(tiny_task: Path, folder: Path) -> Path:
    """A study in which nothing is learned before the first trial, as nothing hangs on it here."""
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


@pytest.mark.slow
def test_a_killed_search_goes_on_and_ctrl_c_ends_it_with_its_front(
    tiny_task: Path, tmp_path: Path, cli: Callable[..., tuple[int, str, str]]
) -> None:
    options = (study_file(tiny_task, tmp_path), "--batch", 32, "--trials", 200, "--runs", tmp_path)
    first = Search(*options)
    try:
        first.wait_for_trials(2)
        code, _, complaint = cli("search", *options)
        assert code == 2, "two searches never write one study"
        assert len(complaint.splitlines()) == 1 and "open" in complaint
    finally:
        first.kill()
    folder = tmp_path / "tiny_task"
    before = read_front(folder).trials
    assert len(before) >= 2
    interrupted = TrialStore(folder, "tiny_task", ("accuracy", "latency_ms")).interrupted()
    assert interrupted, "one trial was under way, and others may wait at a rung"

    again = Search(*options)
    try:
        again.wait_for_trials(2)
        os.killpg(again.process.pid, signal.SIGINT)  # as a terminal does: every process of the search gets it
        assert again.end() == 0
    finally:
        if again.process.poll() is None:
            again.kill()
    printed = "".join(again.said)
    assert "best" in printed and "model.onnx" in printed, "Ctrl-C still gives the front"
    assert "Traceback" not in printed + again.errors()

    after = read_front(folder)
    assert as_measured(after.trials[: len(before)]) == as_measured(before), (
        "nothing that was measured is measured or numbered again"
    )
    assert all(t.state is not TrialState.FAILED for t in after.trials), "a trial that was interrupted has not failed"
    numbers = [t.number for t in after.trials]
    assert len(set(numbers)) == len(numbers)
    left = TrialStore(folder, "tiny_task", ("accuracy", "latency_ms")).interrupted()
    known = {t.number: t for t in (*after.trials, *left)}
    for trial in interrupted:
        assert known[trial.number].plan == trial.plan, "what was under way, or waited, is not lost"
        assert known[trial.number].rungs[: len(trial.rungs)] == trial.rungs, "nor what it has learned"
    assert len({t.plan for t in after.trials}) == len(after.trials), "no plan is tried twice"
    assert after.confirmed


@pytest.mark.slow
def test_other_settings_are_refused_and_fresh_begins_anew(
    briefly: None, tiny_task: Path, tmp_path: Path, cli: Callable[..., tuple[int, str, str]]
) -> None:
    options = ("search", study_file(tiny_task, tmp_path), "--trials", 1, "--runs", tmp_path, "--quiet")
    assert cli(*options, "--batch", 32)[0] == 0
    code, _, complaint = cli(*options, "--batch", 16)
    assert code == 2
    assert len(complaint.splitlines()) == 1 and "--fresh" in complaint and "batch" in complaint
    assert cli(*options, "--batch", 16, "--fresh")[0] == 0
    assert [len(read_front(tmp_path / n).trials) for n in ("tiny_task", "tiny_task-2")] == [1, 1]
