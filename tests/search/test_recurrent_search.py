"""A search that decides about a recurrent layer: its students are taught, built, exported and made again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import recurrent_task
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
    return recurrent_task.task()


@pytest.fixture(scope="module")
def found(task: Task, sections: dict[str, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    recovery = {**sections["recovery"], "epochs": 1.0}
    settings: dict[str, Any] = {**sections, "recovery": recovery, "space": {"recurrent": True}}
    with brief():
        yield autocompress.compress(task, budget_ms=50.0, trials=7, runs=tmp_path_factory.mktemp("lstm"), **settings)


def test_students_read_in_8_bits_and_their_files_answer_as_they_were_scored(found: Front, task: Task) -> None:
    few = [e for e in found.entries if e.trial.spec.bits.get("memory") == 8]
    assert few and all(e.trial.state is TrialState.FINISHED for e in few)
    teacher = next(e for e in found.entries if not e.trial.plan.choices)
    for entry in few:
        assert entry.trial.spec.activations["memory"] == "dynamic"
        path, target = found.paths(entry)[HERE], Target(HERE, batch=50)
        operators = get_runtime(HERE).inspect(path, target)
        assert operators["DynamicQuantizeLSTM"] == 2 and "LSTM" not in operators
        letters, counts = task.validation.tensors  # type: ignore[union-attr]
        loaded = get_runtime(HERE).load(path, target)
        answers = torch.cat([torch.from_numpy(loaded.run(part.numpy())) for part in letters.split(50)])
        right = float((answers.argmax(1) == counts).float().mean())
        assert right == pytest.approx(entry.accuracy, abs=12 / 400)
        assert entry.size_bytes < 0.5 * teacher.size_bytes
    described = json.loads((found.folder / "space.json").read_text())
    (variable,) = (v for v in described["variables"] if v["name"] == "bits:memory")
    assert variable["role"] == "recurrent" and variable["options"] == [32, 8]


def test_a_trial_with_it_is_exported_and_made_again(found: Front, task: Task, tmp_path: Path) -> None:
    entry = next(e for e in found.entries if e.trial.spec.bits.get("memory") == 8)
    export(found.folder, entry.number, [HERE, "openvino"], tmp_path / "export", task)
    files = {file["target"]: file for file in json.loads((tmp_path / "export" / "export.json").read_text())["files"]}
    assert all(file["bits"]["memory"] == 8 and file["difference"] < 0.15 for file in files.values()), files
    folder = found.trial(entry.number).save(tmp_path / "deploy").parent
    recipe = read_recipe(folder / "recipe.toml")
    assert recipe.students[-1].spec.activations["memory"] == "dynamic"
    made = rebuild(recipe, tmp_path / "again", task)
    figures = {each.name: each for each in made.compared}
    assert figures["accuracy, validation"].within and made.files[HERE].is_file()
