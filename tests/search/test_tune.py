"""A search inside Ray Tune: the same as anywhere else, with a grid whose best are files that ship.

One study is prepared once. Copies of it are searched by Tune, here, in a worker process and on Ray, one job at a time.
Its limit is on size, and it trades off size: how fast a machine is decides nothing.
"""

from __future__ import annotations

import math
import os
import pickle
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from brief import brief

import autocompress
from autocompress.errors import UsageError
from autocompress.files import digest
from autocompress.search.report.front import Front
from autocompress.search.report.reading import read_front
from autocompress.search.run import run_search
from autocompress.search.store.trials import TrialStore
from autocompress.search.trial import Trial, TrialState
from autocompress.studies.study_file import StudyFile

pytestmark = [pytest.mark.slow, pytest.mark.cluster, pytest.mark.xdist_group("tune")]

TRIALS = 8
OBJECTIVES = ("accuracy", "size_bytes")
SEARCH = {
    "objectives": OBJECTIVES,
    "cpus_per_job": 1,
    "baselines": ("none",),
    "without": ("latency_model", "sensitivity"),
}
"""Sizes and metrics are the same each time; what hangs on measured milliseconds is left out."""
BUDGET = {"max_size": "40%"}


@pytest.fixture(scope="module", autouse=True)
def one_core() -> Iterator[None]:
    """All train with one thread: sums of several threads differ in their last digits."""
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        import ray

        ray.shutdown()
        os.sched_setaffinity(0, before)


@pytest.fixture(scope="module")
def settings(tiny_task: Path, sections: dict[str, dict[str, Any]]) -> StudyFile:
    found = StudyFile().named("tiny_task").changed("task", **{"from": str(tiny_task)})
    for name, values in sections.items():
        found = found.changed(name, **values)
    return found.changed("budget", **BUDGET)


@pytest.fixture(scope="module")
def prepared(settings: StudyFile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that is ready for its first trial, in a folder of runs."""
    runs = tmp_path_factory.mktemp("prepared")
    with brief():
        run_search(elsewhere(settings, "local"), runs=runs, dry_run=True)
    return runs


def elsewhere(settings: StudyFile, executor: str) -> StudyFile:
    kept = {k: v for k, v in SEARCH.items() if executor == "ray" or k != "cpus_per_job"}
    return settings.changed("search", **kept, executor=executor, trials=TRIALS)


@contextmanager
def opened(runs: Path, tiny_task: Path, sections: dict[str, dict[str, Any]], **more: Any) -> Iterator[Any]:
    import autocompress.tune

    given = {"budget": BUDGET, "search": SEARCH, **sections, **more}
    with brief(), autocompress.tune.Study(str(tiny_task), runs=runs, say=lambda line: None, **given) as study:
        yield study


def fit(study: Any, folder: Path, **tune_config: Any) -> Any:
    from ray import tune

    return tune.Tuner(
        study.trainable(),
        param_space=study.search_space(),
        tune_config=study.tune_config(max_concurrent_trials=1, **tune_config),
        run_config=tune.RunConfig(name="tune", storage_path=str(folder), verbose=0),
    ).fit()


@dataclass
class Tuned:
    """What Tune made of a study."""

    grid: Any
    front: Front


@pytest.fixture(scope="module")
def tuned(
    prepared: Path, tiny_task: Path, sections: dict[str, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> Tuned:
    folder = tmp_path_factory.mktemp("tuned")
    shutil.copytree(prepared, folder / "runs")
    with opened(folder / "runs", tiny_task, sections) as study:
        grid = fit(study, folder / "ray", num_samples=TRIALS)
        front = study.finish()
        assert study.finish() is front
    return Tuned(grid, front)


def all_trials(folder: Path) -> dict[int, Trial]:
    """Those that ended and those that wait, as they are kept."""
    with closing(TrialStore(folder, "tiny_task", OBJECTIVES)) as store:
        return {t.number: t for t in sorted((*store.ended(), *store.interrupted()), key=lambda t: t.number)}


def decided(trials: dict[int, Trial]) -> list[tuple[Any, ...]]:
    """What a search decided and what that rests on; latencies and times differ."""
    rows = []
    for trial in trials.values():
        files = [file.accuracy for file in trial.measured.values()]
        rows.append((trial.number, trial.label, trial.plan.choices, trial.state, trial.rungs, files))
    return rows


@pytest.mark.parametrize("executor", ["local", "processes", "ray"])
def test_the_same_seed_gives_the_same_trials_wherever_jobs_are_done(
    tuned: Tuned, prepared: Path, settings: StudyFile, tmp_path: Path, executor: str
) -> None:
    runs = Path(shutil.copytree(prepared, tmp_path / "runs"))
    with brief():
        run_search(elsewhere(settings, executor), runs=runs)
    assert decided(all_trials(runs / "tiny_task")) == decided(all_trials(tuned.front.folder))


def test_every_trial_of_the_grid_says_what_became_of_it(tuned: Tuned) -> None:
    trials, found = all_trials(tuned.front.folder), {r.metrics["trial"]: r for r in tuned.grid}
    assert sorted(found) == sorted(trials) == list(range(1, TRIALS + 1)) and not tuned.grid.errors
    states = {trial.state for trial in trials.values()}
    assert TrialState.FINISHED in states and TrialState.GATED in states and TrialState.RUNNING not in states
    for number, trial in trials.items():
        metrics = found[number].metrics
        assert (metrics["state"], metrics["origin"], metrics["reason"]) == (trial.state, trial.label, trial.reason)
        chosen = {
            name: option for name, option in found[number].config["decisions"].items() if name in trial.plan.choices
        }
        assert chosen == trial.plan.choices
        assert metrics["rungs"] == len(trial.rungs) and metrics["latency_ms"] > 0
        assert metrics["done"] == trial.state.ended
        assert math.isnan(metrics["accuracy"]) == (not trial.finished) == (not metrics["model"])
        if trial.state is TrialState.GATED:
            assert not trial.rungs and "over the limit" in metrics["reason"]


def test_the_best_of_the_grid_is_a_file_that_ships(tuned: Tuned, tiny_task: Path) -> None:
    best = tuned.grid.get_best_result()
    path = Path(best.metrics["model"])
    entry = next(e for e in tuned.front.entries if e.number == best.metrics["trial"])
    assert tuned.front.paths(entry) == {"onnxruntime": path} and tuned.front.meets(entry, tuned.front.limits)
    assert best.metrics["feasible_accuracy"] == max(e.accuracy for e in tuned.front.fitting)
    (file,) = entry.trial.measured.values()
    assert digest(path) == file.sha256
    assert accuracy_of(path, tiny_task) == pytest.approx(file.accuracy, abs=1e-7)
    with best.checkpoint.as_directory() as checkpoint:
        assert digest(Path(checkpoint, "model.onnx")) == file.sha256, "Tune's own copy"


def accuracy_of(path: Path, tiny_task: Path) -> float:
    """What somebody without AutoCompress computes on the validation split."""
    import runpy

    import onnxruntime

    _, validation, _ = runpy.run_path(str(tiny_task))["splits"]()
    images, labels = (part.numpy() for part in validation.tensors)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name, right = session.get_inputs()[0].name, 0
    for start in range(0, len(images), 32):
        outputs = session.run(None, {name: images[start : start + 32]})[0]
        right += int((np.argmax(outputs, 1) == labels[start : start + 32]).sum())
    return right / len(images)


def test_a_study_goes_on_from_tune_to_the_command_line_and_back(
    tuned: Tuned,
    tiny_task: Path,
    sections: dict[str, dict[str, Any]],
    tmp_path: Path,
    cli: Callable[..., tuple[int, str, str]],
) -> None:
    runs = Path(shutil.copytree(tuned.front.folder.parent, tmp_path / "runs"))
    folder = runs / "tiny_task"
    assert autocompress.open_study(folder).best and cli("front", folder)[0] == 0
    before = all_trials(folder)
    with brief():
        code, _, said = cli("search", folder, "--trials", 2, "--quiet", "--run-code")
    assert code == 0, said
    between = all_trials(folder)
    ended = {number: trial for number, trial in before.items() if trial.state.ended}
    assert len(between) == len(before) + 2
    assert decided({number: between[number] for number in ended}) == decided(ended)
    with opened(runs, tiny_task, sections) as study:
        grid = fit(study, tmp_path / "ray", num_samples=1)
    assert len(grid) == 1 and grid[0].metrics["trial"] in (*between, len(between) + 1)
    assert all(t.state is not TrialState.RUNNING for t in all_trials(folder).values())


DEATHS = {2: 1, 3: 2}
"""Trial -> how often the process that does its job dies."""


def test_processes_that_die_cost_no_search(
    prepared: Path, tiny_task: Path, sections: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    runs = Path(shutil.copytree(prepared, tmp_path / "runs"))
    with opened(runs, tiny_task, sections) as study:
        over, killed = threading.Event(), {victim: set[int]() for victim in DEATHS}
        killer = threading.Thread(target=kill, args=(study, over, killed), daemon=True)
        killer.start()
        try:
            grid = fit(study, tmp_path / "ray", num_samples=3)
        finally:
            over.set()
            killer.join()
    trials = all_trials(runs / "tiny_task")
    assert {victim: len(pids) for victim, pids in killed.items()} == DEATHS, "or nothing was tried"
    assert sorted(trials) == [1, 2, 3] and not grid.errors
    assert trials[3].state is TrialState.FAILED and "died twice" in trials[3].reason
    assert all(trials[n].state not in (TrialState.RUNNING, TrialState.FAILED) for n in (1, 2)), "once is forgiven"
    for victim in DEATHS:
        (row,) = (r.metrics for r in grid if r.metrics["trial"] == victim)
        assert row["state"] == trials[victim].state and "\n" not in row["reason"]


def kill(study: Any, over: threading.Event, killed: dict[int, set[int]]) -> None:
    """Kill the processes that do the jobs of some trials, as often as `DEATHS` says; note which."""
    while not over.is_set() and (left := [n for n in DEATHS if len(killed[n]) < DEATHS[n]]):
        time.sleep(0.05)
        victim = next((n for n in left if n in study._open._decisions.running), None)
        if victim is None:
            continue
        for each in psutil.Process().children(recursive=True):
            try:
                if is_training(each) and not any(each.pid in pids for pids in killed.values()):
                    killed[victim].add(each.pid)
                    each.kill()
                    break
            except (psutil.NoSuchProcess, IndexError):
                continue


def is_training(process: psutil.Process) -> bool:
    title = " ".join(process.cmdline()).strip()
    return title.startswith("ray::") and "Trainable" in title and title.endswith(".train")


def test_the_parts_of_a_study_belong_together(
    prepared: Path, tiny_task: Path, sections: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    runs = Path(shutil.copytree(prepared, tmp_path / "runs"))
    with opened(runs, tiny_task, sections) as study:
        with pytest.raises(Exception, match=r"scheduler=study.scheduler"):
            fit(study, tmp_path / "ray", num_samples=3, scheduler=None)
        searcher = pickle.loads(pickle.dumps(study.searcher()))
        with pytest.raises(UsageError, match="goes on from its own folder"):
            searcher.suggest("a trial that Tune restored")
    assert read_front(runs / "tiny_task").trials == (), "and what was begun is left to the next run"


@pytest.mark.parametrize("key", ["trials", "minutes", "workers", "executor"])
def test_what_is_tunes_to_say_is_not_said_to_the_study(tmp_path: Path, key: str) -> None:
    import autocompress.tune

    with pytest.raises(UsageError, match=f"{key}.*Ray Tune says when a search ends"):
        autocompress.tune.Study("digits", runs=tmp_path, search={key: 3})
    assert not list(tmp_path.iterdir())
