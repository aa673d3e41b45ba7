"""Cleaning a study takes away what nobody can need, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st
from simulation import TARGET, latency

from autocompress.evaluators.measurement import Measurement
from autocompress.search.clean import (
    HOPELESS,
    checkpoint_bytes,
    hopeless,
    spare_files,
    take_away,
    waiting_checkpoints,
)
from autocompress.search.cleaning import CheckpointKeeper, Cleaning
from autocompress.search.evaluate.checkpoints import checkpoint_path, recovered_student
from autocompress.search.executors.base import ExecutorContext
from autocompress.search.feasibility import Limits
from autocompress.search.promotion import Promotion
from autocompress.search.report.front import Front
from autocompress.search.report.reading import read_front
from autocompress.search.store.layout import checkpoints_folder
from autocompress.search.trial import Origin, Trial, TrialState
from autocompress.spaces.plan import Plan
from autocompress.spaces.spec import Recovery, StudentSpec

PROMOTION = Promotion(Limits((TARGET,)), ("accuracy", "latency_ms"), (0.5, 1.0), 1000, 1000)


def a_trial(number: int, state: TrialState, ms: float, *metric: float) -> Trial:
    """A student of its own width; a finished one has the metric of its last rung."""
    spec = StudentSpec({"c0": number}, recovery=Recovery())
    measured = {TARGET: Measurement(metric[-1], latency(ms), 1000, 900, {})} if state is TrialState.FINISHED else {}
    return Trial(
        number, Plan({"n": number}), spec, Origin.SEARCH, "search", state, gate={TARGET: latency(ms)}, rungs=metric,
        measured=measured,
    )  # fmt: skip


def write_checkpoint(folder: Path, trial: Trial, rung: int) -> Path:
    path = checkpoint_path(folder, trial.spec, rung)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(1000))
    return path


def finished_ones(count: int = 8) -> list[Trial]:
    """Each gained 0.05 on its second rung, the last one 0.10."""
    gains = [0.05] * (count - 1) + [0.10]
    return [a_trial(n + 1, TrialState.FINISHED, 1.0 + n, 0.8, 0.8 + gain) for n, gain in enumerate(gains)]


def test_only_what_no_gain_could_save_is_hopeless(tmp_path: Path) -> None:
    ended = finished_ones()
    slow_and_bad = a_trial(20, TrialState.WAITING, 2.0, 0.5)
    within_the_largest_gain = a_trial(21, TrialState.WAITING, 2.0, 0.75)
    fast = a_trial(22, TrialState.WAITING, 0.5, 0.5)
    running = a_trial(23, TrialState.RUNNING, 2.0, 0.5)
    waiting = [slow_and_bad, within_the_largest_gain, fast, running]
    assert hopeless(ended, waiting, PROMOTION) == [slow_and_bad]
    assert not hopeless(ended[:4], waiting, PROMOTION), "four trainings tell too little of what a student can gain"
    same_training = replace(running, number=24, spec=slow_and_bad.spec)
    assert not hopeless(ended, [*waiting, same_training], PROMOTION), "its checkpoint is that of one that runs"


def test_what_is_spare_in_a_study(tmp_path: Path) -> None:
    ended = finished_ones()
    kept = [write_checkpoint(tmp_path, t, 1) for t in ended]
    waits, hopes_not = a_trial(20, TrialState.WAITING, 0.5, 0.7), a_trial(21, TrialState.WAITING, 2.0, 0.5)
    failed = a_trial(22, TrialState.FAILED, 2.0)
    kept.append(write_checkpoint(tmp_path, waits, 0))
    gone = [write_checkpoint(tmp_path, t, 0) for t in (hopes_not, failed, ended[0])]
    (checkpoints_folder(tmp_path) / ".part-x").write_bytes(bytes(10))
    (checkpoints_folder(tmp_path) / "abc.lock").touch()
    found = spare_files(tmp_path, [*ended, failed], [waits, hopes_not], PROMOTION)
    assert {f.path for f in found if f.path.suffix == ".pt"} == set(gone)
    assert [f.path for f in found if f.why == HOPELESS] == [gone[0]]
    while_it_runs = spare_files(tmp_path, [*ended, failed], [waits, hopes_not], PROMOTION, running=True)
    assert {f.path for f in while_it_runs} == set(gone), "locks and unfinished files may be in use"
    assert take_away(found) == 3010
    assert sorted(checkpoints_folder(tmp_path).iterdir()) == sorted(kept)


def test_what_is_said_to_be_kept_is_what_is_left(tmp_path: Path) -> None:
    """A checkpoint that was not written to its end counts as none before, so it must not be taken off."""
    ended = finished_ones()
    for trial in ended:
        write_checkpoint(tmp_path, trial, 1)
    write_checkpoint(tmp_path, a_trial(22, TrialState.FAILED, 2.0), 0)
    (checkpoints_folder(tmp_path) / ".part-abc-0123456789abcdef-0.pt").write_bytes(bytes(500_000))
    spare = tuple(spare_files(tmp_path, ended, [], PROMOTION))
    found = Cleaning(spare, checkpoint_bytes(tmp_path), "finished students")
    assert take_away(spare) == 501_000
    assert found.kept_bytes == checkpoint_bytes(tmp_path) == 1000 * len(ended)


TRIALS = st.tuples(
    st.sampled_from([TrialState.WAITING, TrialState.RUNNING, TrialState.FINISHED, TrialState.FAILED]),
    st.floats(0.1, 5.0),
    st.lists(st.floats(0, 1), min_size=1, max_size=2),
)


@given(st.lists(TRIALS, max_size=12))
def test_finished_and_running_students_keep_their_weights(made: list[tuple[TrialState, float, list[float]]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder)
        trials = [a_trial(n, state, ms, *rungs) for n, (state, ms, rungs) in enumerate(made, 1)]
        ended, others = [t for t in trials if t.state.ended], [t for t in trials if not t.state.ended]
        paths = {t.number: write_checkpoint(study, t, 1 if t.finished else 0) for t in trials}
        take_away(spare_files(study, ended, others, PROMOTION))
        take_away(waiting_checkpoints(study, ended, others, PROMOTION))
        for trial in trials:
            assert paths[trial.number].exists() == (trial.state in (TrialState.FINISHED, TrialState.RUNNING))


def test_a_running_search_stays_below_its_limit(tmp_path: Path) -> None:
    said: list[str] = []
    ended = finished_ones()
    kept = [write_checkpoint(tmp_path, t, 1) for t in ended]
    waiting = [a_trial(20 + n, TrialState.WAITING, 0.2, 0.6 + n / 100) for n in range(10)]
    paths = [write_checkpoint(tmp_path, t, 0) for t in waiting]
    CheckpointKeeper(tmp_path, PROMOTION, 20_000, said.append).look(ended, waiting)
    assert all(path.exists() for path in paths) and not said, "below the limit nothing happens"
    CheckpointKeeper(tmp_path, PROMOTION, 15_000, said.append).look(ended, waiting)
    left = sum(path.exists() for path in paths)
    assert left == 4 and all(path.exists() for path in (*kept, *paths[-4:])), "the least accurate ones go first"
    CheckpointKeeper(tmp_path, PROMOTION, 2_000, said.append).look(ended, waiting)
    assert all(path.exists() for path in kept) and "export" in said[-1]


WORKER = """
import itertools, sys
from autocompress.files import Path, write_bytes
folder = Path(sys.argv[1])
print("begun", flush=True)
for turn in itertools.count():
    write_bytes(folder / f"{turn % 5:016x}-0.pt", bytes(100))
    (folder / f"{(turn + 2) % 5:016x}-0.pt").unlink(missing_ok=True)
"""


def test_a_running_search_looks_at_checkpoints_that_workers_write_and_remove(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, a_trial(1, TrialState.WAITING, 1.0, 0.5), 0)
    folder = checkpoints_folder(tmp_path)
    unfinished = folder / ".part-abc-0123456789abcdef-0.pt"
    unfinished.write_bytes(bytes(500_000))
    # in its listing and gone when it is looked at
    (folder / "fedcba9876543210-0.pt").symlink_to(tmp_path / "nowhere")
    with subprocess.Popen([sys.executable, "-c", WORKER, str(folder)], stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None and worker.stdout.readline()
        try:
            for _ in range(300):
                CheckpointKeeper(tmp_path, PROMOTION, 10, lambda line: None).look([], [])
        finally:
            worker.kill()
    assert unfinished.exists(), "a worker is writing it"


@pytest.mark.slow
def test_after_cleaning_all_that_was_finished_can_be_used(
    finished: Front, opened_context: ExecutorContext, tmp_path: Path, cli: Callable[..., tuple[int, str, str]]
) -> None:
    copy = shutil.copytree(finished.folder, tmp_path / "copy")
    before = {path: path.read_bytes() for path in checkpoints_folder(copy).glob("*.pt")}
    stray = checkpoints_folder(copy) / "0123456789abcdef-0.pt"
    stray.write_bytes(bytes(2_000_000))
    code, said, _ = cli("clean", copy, "--dry-run")
    assert code == 0 and "would free 2.0 MB" in said and stray.exists()
    with FileLock(copy / "lock"):
        code, _, complaint = cli("clean", copy)
        assert code == 2 and len(complaint.splitlines()) == 1 and "open" in complaint
    code, said, _ = cli("clean", copy)
    assert code == 0 and "freed 2.0 MB" in said and not stray.exists()
    context = replace(opened_context.context, folder=copy)
    taught = [t for t in read_front(copy).trials if t.finished and t.spec.recovery is not None]
    assert taught
    for trial in taught:
        recovered_student(context, trial.spec, trial.warm_start)
    assert {path: path.read_bytes() for path in checkpoints_folder(copy).glob("*.pt")}.items() <= before.items()
