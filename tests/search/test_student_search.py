"""A search beside a student of the user's own, which is taught, compressed, built, exported and made again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import student_task
import torch
from brief import brief

import autocompress
from autocompress import Front, StorageError, Task
from autocompress.evaluators.runtimes.registry import get_runtime
from autocompress.search.bundle.rebuild import rebuild
from autocompress.search.bundle.recipe import read_recipe
from autocompress.search.bundle.verify import verify
from autocompress.search.export import export
from autocompress.search.report.techniques import techniques
from autocompress.search.trial import TrialState
from autocompress.spaces.target import Target

pytestmark = pytest.mark.slow

HERE = "onnxruntime"


@pytest.fixture(scope="module")
def task() -> Task:
    return student_task.one_student()


@pytest.fixture(scope="module")
def settings(sections: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {**sections, "recovery": {**sections["recovery"], "epochs": 1.0, "student_epochs": 12.0}}


@pytest.fixture(scope="module")
def found(task: Task, settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    runs = tmp_path_factory.mktemp("students")
    with brief():
        autocompress.compress(task, budget_ms=50.0, trials=6, runs=runs, **settings)
        yield autocompress.compress(
            task, budget_ms=50.0, trials=12, runs=runs, search={"baselines": ("default", "own-student")}, **settings
        )


def test_plans_of_both_networks_are_tried_and_their_files_hold_what_they_are(found: Front, task: Task) -> None:
    assert all(trial.state is TrialState.FINISHED for trial in found.trials if trial.spec.student)
    own = [entry for entry in found.entries if entry.trial.spec.student == "plain"]
    of_teacher = [entry for entry in found.entries if not entry.trial.spec.student]
    assert own and of_teacher and len(found.trials) > 6, "it went on where it had stopped"
    assert any(entry.trial.spec.bits for entry in own) and any(entry.trial.spec.recovery for entry in own)
    assert any(entry.trial.spec.student for entry in found.best), "it is far smaller, and knows most of it"
    images, labels = task.validation.tensors  # type: ignore[union-attr]
    for entry in own:
        loaded = get_runtime(HERE).load(found.paths(entry)[HERE], Target(HERE, batch=32))
        answers = torch.cat([torch.from_numpy(loaded.run(part.numpy())) for part in images[:288].split(32)])
        right = float((answers.argmax(1) == labels[:288]).float().mean())
        assert right == pytest.approx(entry.accuracy, abs=12 / 300)
    rows = {row.name: row for row in techniques(found).rows}
    assert rows["own student"].entry is not None and "none of its own" not in rows["own student"].note


def test_a_students_file_is_exported_verified_and_made_again(found: Front, task: Task, tmp_path: Path) -> None:
    entry = next(e for e in found.entries if e.trial.spec.student and e.trial.spec.recovery)
    export(found.folder, entry.number, [HERE], tmp_path / "export", task)
    (file,) = json.loads((tmp_path / "export" / "export.json").read_text())["files"]
    assert (tmp_path / "export" / file["path"]).is_file()
    folder = found.trial(entry.number).save(tmp_path / "deploy").parent
    assert "plain" in (folder / "README.md").read_text()
    assert all(each.difference is not None and each.difference < 1e-3 for each in verify(folder, timed=False))
    recipe = read_recipe(folder / "recipe.toml")
    assert recipe.students[-1].spec.student == "plain" and "first weights of student plain" in recipe.identity
    made = rebuild(recipe, tmp_path / "again", task)
    figures = {each.name: each for each in made.compared}
    assert figures["accuracy, validation"].within and made.files[HERE].is_file()


def test_the_page_names_the_student(found: Front) -> None:
    assert "plain" in (found.folder / "report.html").read_text()


def test_a_study_is_not_taken_up_without_its_student(found: Front, task: Task, settings: dict[str, Any]) -> None:
    from dataclasses import replace

    with pytest.raises(StorageError, match="begun with other students"):
        autocompress.compress(
            replace(task, students={}), budget_ms=50.0, trials=13, runs=found.folder.parent, **settings
        )
