"""A search that factors layers: its students are taught, built, exported and made again as all others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from brief import brief
from tiny_task import splits
from torch import nn

import autocompress
from autocompress import Front, Task
from autocompress.evaluators.runtimes.registry import get_runtime
from autocompress.search.bundle.rebuild import rebuild
from autocompress.search.bundle.recipe import read_recipe
from autocompress.search.evaluate.look import look_at_teacher
from autocompress.search.evaluate.warm_start import WarmStarts
from autocompress.search.export import export
from autocompress.search.trial import TrialState
from autocompress.spaces.factors import Factor
from autocompress.spaces.target import Target

pytestmark = pytest.mark.slow

HERE = "onnxruntime"


@pytest.fixture(scope="module")
def task() -> Task:
    train, validation, test = splits()
    images, labels = train.tensors
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(128, 64),
            nn.ReLU(),
            nn.Linear(64, 10),
        )
        optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
        for _ in range(4):
            for rows in torch.randperm(len(labels)).split(64):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(images[rows]), labels[rows]).backward()
                optimizer.step()
    return Task(model.eval(), train, validation, test, name="factored")


@pytest.fixture(scope="module")
def settings(sections: dict[str, dict[str, Any]]) -> dict[str, Any]:
    search = {"baselines": ("low rank", "separable convolutions")}
    axes = ["channels", "factors", "bits", "recovery"]
    return {"axes": axes, **sections, "recovery": {**sections["recovery"], "epochs": 1.0}, "search": search}


@pytest.fixture(scope="module")
def found(task: Task, settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    runs = tmp_path_factory.mktemp("factors")
    with brief():
        autocompress.compress(task, budget_ms=50.0, trials=4, runs=runs, **settings)
        yield autocompress.compress(task, budget_ms=50.0, trials=9, runs=runs, **settings)


def test_factored_students_are_taught_and_their_files_hold_what_they_are(found: Front, task: Task) -> None:
    factored = [e for e in found.entries if e.trial.spec.factors]
    assert factored and all(e.trial.state is TrialState.FINISHED for e in factored)
    assert {e.trial.technique for e in found.entries} >= {"low rank", "separable convolutions"}
    for entry in factored:
        path = found.paths(entry)[HERE]
        loaded = get_runtime(HERE).load(path, Target(HERE, batch=32))
        images, labels = task.validation.tensors  # type: ignore[union-attr]
        answers = torch.cat([torch.from_numpy(loaded.run(part.numpy())) for part in images[:288].split(32)])
        right = float((answers.argmax(1) == labels[:288]).float().mean())
        assert right == pytest.approx(entry.accuracy, abs=12 / 300)
    teacher = next(e for e in found.entries if not e.trial.plan.choices)
    assert all(e.size_bytes < teacher.size_bytes for e in factored)


def test_a_factored_trial_is_exported_and_made_again(found: Front, task: Task, tmp_path: Path) -> None:
    entry = next(e for e in found.entries if e.trial.spec.factors and e.trial.spec.recovery)
    export(found.folder, entry.number, [HERE], tmp_path / "export", task)
    (file,) = json.loads((tmp_path / "export" / "export.json").read_text())["files"]
    assert (tmp_path / "export" / file["path"]).is_file()
    assert file["difference"] < (0.15 if file["bits"] else 1e-3)
    folder = found.trial(entry.number).save(tmp_path / "deploy").parent
    assert "layers in two factors" in (folder / "README.md").read_text()
    recipe = read_recipe(folder / "recipe.toml")
    assert recipe.students[-1].spec.factors == entry.trial.spec.factors
    made = rebuild(recipe, tmp_path / "again", task)
    figures = {each.name: each for each in made.compared}
    assert figures["accuracy, validation"].within and made.files[HERE].is_file()


def test_a_student_may_start_where_one_of_other_parts_ended(found: Front, task: Task) -> None:
    entry = next(e for e in found.entries if e.trial.spec.recovery and not e.trial.warm_start)
    ended = [replace(entry.trial, technique="")]
    groups = look_at_teacher(task.prepared(), ()).groups
    starts = WarmStarts(found.folder, groups, len(entry.trial.rungs))
    for factors in ({}, entry.trial.spec.factors, {"8": Factor("rank", 16)}):
        start = starts.nearest(replace(entry.trial.spec, factors=factors), ended)
        assert start is not None and start.number == entry.number
