"""Students of the user's own beside two targets, taught and built here, in worker processes, on Ray and by Tune.

One study is prepared once, so that each search begins with the same first weights; copies of it are searched.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import student_task
import torch
from brief import brief

from autocompress.compression.recovered import read_checkpoint
from autocompress.search.evaluate.first_weights import first_weights_path
from autocompress.search.report.front import Front
from autocompress.search.run import run_search
from autocompress.search.trial import Trial, TrialState
from autocompress.studies.study_file import StudyFile

pytestmark = [pytest.mark.slow, pytest.mark.cluster, pytest.mark.xdist_group("tune")]

TRIALS = 7
"""The teacher; the student as it was taught first, in two precisions; and students that are taught, two of its own."""
TARGETS = {"onnxruntime", "openvino"}
SEARCH = {"baselines": ("none",), "without": ("latency_model", "sensitivity", "learned")}
SPACE = {"axes": ("bits", "recovery")}


@pytest.fixture(scope="module")
def given(sections: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    pytest.importorskip("openvino", reason="the extra 'openvino' is not installed")
    return {
        "target": {**sections["target"], "runtime": tuple(sorted(TARGETS))},
        "recovery": {"epochs": 1.0, "rungs": (1.0,), "batch_size": 64, "student_epochs": 4.0},
        "space": SPACE,
        "budget": {"latency_ms": 50.0},
    }


@pytest.fixture(scope="module")
def settings(given: dict[str, dict[str, Any]]) -> StudyFile:
    named = f"{student_task.__file__}:one_student"
    found = StudyFile().named("student_task").changed("task", **{"from": named})
    for name, values in given.items():
        found = found.changed(name, **values)
    return found.changed("search", **SEARCH, trials=TRIALS)


@pytest.fixture(scope="module")
def prepared(settings: StudyFile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that is ready for its first trial, in a folder of runs."""
    runs = tmp_path_factory.mktemp("students")
    with brief():
        run_search(settings, runs=runs, dry_run=True)
    return runs


@pytest.fixture(scope="module")
def here(prepared: Path, settings: StudyFile, tmp_path_factory: pytest.TempPathFactory) -> Front:
    runs = tmp_path_factory.mktemp("here")
    shutil.copytree(prepared / "student_task", runs / "student_task")
    with brief():
        return run_search(settings, runs=runs).front


@pytest.fixture
def cluster() -> Iterator[None]:
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    import ray

    yield
    ray.shutdown()


def own(front: Front) -> list[Trial]:
    return sorted((t for t in front.trials if t.spec.student), key=lambda t: t.number)


def check(front: Front, before: Path, here: Front) -> None:
    """Hold what another place made of the student against what this process makes of it."""
    made, wanted = own(front), own(here)
    assert [t.plan.choices for t in made] == [t.plan.choices for t in wanted]
    for trial, same in zip(made, wanted, strict=True):
        assert trial.state is TrialState.FINISHED, trial.reason
        assert trial.measured.keys() == TARGETS
        for name, file in trial.measured.items():
            assert file.accuracy == pytest.approx(same.measured[name].accuracy, abs=0.05)
            assert file.size_bytes == pytest.approx(same.measured[name].size_bytes, rel=0.02)
    kept, now = (read_checkpoint(first_weights_path(folder, "plain")) for folder in (before, front.folder))
    assert kept is not None and now is not None
    assert all(torch.equal(value, now["module"][name]) for name, value in kept["module"].items())


def test_one_file_for_each_target_is_made_of_a_student(here: Front, prepared: Path) -> None:
    found = own(here)
    assert len(found) >= 4 and {t.spec.recovery is None for t in found} == {True, False}
    check(here, prepared / "student_task", here)
    assert all(here.paths(entry).keys() == TARGETS for entry in here.entries)


@pytest.mark.parametrize("executor", ["processes", "ray"])
def test_workers_make_the_same_of_a_student(
    here: Front, prepared: Path, settings: StudyFile, tmp_path: Path, executor: str, request: pytest.FixtureRequest
) -> None:
    if executor == "ray":
        request.getfixturevalue("cluster")
        settings = settings.changed("search", cpus_per_job=1)
    runs = tmp_path / "runs"
    shutil.copytree(prepared / "student_task", runs / "student_task")
    with brief():
        front = run_search(settings.changed("search", executor=executor), runs=runs).front
    check(front, prepared / "student_task", here)


@pytest.mark.usefixtures("cluster")
def test_tune_makes_the_same_of_a_student(
    here: Front, prepared: Path, given: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    from ray import tune

    import autocompress.tune

    runs = tmp_path / "runs"
    shutil.copytree(prepared / "student_task", runs / "student_task")
    sections = {**given, "search": {**SEARCH, "cpus_per_job": 1}}
    task = f"{student_task.__file__}:one_student"
    with brief(), autocompress.tune.Study(task, runs=runs, say=lambda line: None, **sections) as study:
        grid = tune.Tuner(
            study.trainable(),
            param_space=study.search_space(),
            tune_config=study.tune_config(max_concurrent_trials=1, num_samples=TRIALS),
            run_config=tune.RunConfig(name="tune", storage_path=str(tmp_path / "ray"), verbose=0),
        ).fit()
        front = study.finish()
    assert not grid.errors
    check(front, prepared / "student_task", here)


def test_a_student_is_measured_anew_with_all_others(here: Front, settings: StudyFile, prepared: Path) -> None:
    with brief():
        after = run_search(settings.changed("search", trials=1), runs=here.folder.parent, anew=True).front
    assert (after.folder / "students").is_dir() and prepared.is_dir()
    for old, new in zip(own(here), own(after), strict=False):
        for name, file in new.measured.items():
            assert file.accuracy == old.measured[name].accuracy and file.latency != old.measured[name].latency
