"""A search that drops blocks: its students are taught, built, taken up again, exported and made again as all others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import residual_task
import torch
from brief import brief

import autocompress
from autocompress import Front, Task
from autocompress.evaluators.runtimes.registry import get_runtime
from autocompress.search.bundle.rebuild import rebuild
from autocompress.search.bundle.recipe import read_recipe
from autocompress.search.export import export
from autocompress.search.trial import TrialState
from autocompress.spaces.target import Target

pytestmark = pytest.mark.slow

HERE = "onnxruntime"


@pytest.fixture(scope="module")
def task() -> Task:
    return residual_task.task()


@pytest.fixture(scope="module")
def settings(sections: dict[str, dict[str, Any]]) -> dict[str, Any]:
    recovery = {**sections["recovery"], "epochs": 1.0}
    return {"axes": ["depth", "channels", "bits", "recovery"], **sections, "recovery": recovery}


@pytest.fixture(scope="module")
def found(task: Task, settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    runs = tmp_path_factory.mktemp("depth")
    with brief():
        autocompress.compress(task, budget_ms=50.0, trials=4, runs=runs, **settings)
        yield autocompress.compress(task, budget_ms=50.0, trials=7, runs=runs, **settings)


def test_students_without_blocks_are_taught_and_their_files_hold_what_they_are(found: Front, task: Task) -> None:
    shallow = [e for e in found.entries if e.trial.spec.dropped]
    assert shallow and all(e.trial.state is TrialState.FINISHED for e in shallow)
    assert len(found.trials) > 4, "it went on where it had stopped"
    for entry in shallow:
        assert set(entry.trial.spec.dropped) <= {"2", "3"}, "the last block stays"
        path = found.paths(entry)[HERE]
        loaded = get_runtime(HERE).load(path, Target(HERE, batch=32))
        images, labels = task.validation.tensors  # type: ignore[union-attr]
        answers = torch.cat([torch.from_numpy(loaded.run(part.numpy())) for part in images[:288].split(32)])
        right = float((answers.argmax(1) == labels[:288]).float().mean())
        assert right == pytest.approx(entry.accuracy, abs=12 / 300)
    teacher = next(e for e in found.entries if not e.trial.plan.choices)
    floats = [e for e in shallow if not e.trial.spec.bits] or shallow
    assert all(e.size_bytes < teacher.size_bytes for e in floats)


def test_a_trial_without_blocks_is_exported_and_made_again(found: Front, task: Task, tmp_path: Path) -> None:
    entry = next(e for e in found.entries if e.trial.spec.dropped and e.trial.spec.recovery)
    export(found.folder, entry.number, [HERE], tmp_path / "export", task)
    (file,) = json.loads((tmp_path / "export" / "export.json").read_text())["files"]
    assert (tmp_path / "export" / file["path"]).is_file()
    assert file["difference"] < (0.15 if file["bits"] else 1e-3)
    folder = found.trial(entry.number).save(tmp_path / "deploy").parent
    recipe = read_recipe(folder / "recipe.toml")
    assert recipe.students[-1].spec.dropped == entry.trial.spec.dropped
    made = rebuild(recipe, tmp_path / "again", task)
    figures = {each.name: each for each in made.compared}
    assert figures["accuracy, validation"].within and made.files[HERE].is_file()
