"""A study's identity: figures of another task never join it, and what differs is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_tasks import Knows, inputs, right, splits
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

from autocompress import Task
from autocompress.errors import DataError, StorageError
from autocompress.search.executors import worker
from autocompress.search.executors.base import ExecutorContext
from autocompress.search.executors.worker import WorkerUnusable
from autocompress.search.identity import check_identity, differences, identity_of
from autocompress.studies.metric import top1


def task(**changed: Any) -> Task:
    return Task(**{"teacher": Knows(), **splits(), **changed})


def balanced(outputs: Tensor, labels: Tensor) -> float:
    hits = outputs.argmax(1) == labels
    return float(torch.stack([hits[labels == c].double().mean() for c in labels.unique()]).mean())


def mean_of_hits(outputs: Tensor, labels: Tensor) -> float:
    return top1(outputs, labels)


class Scaled(Knows):
    def forward(self, x: Tensor) -> Any:
        return 2 * super().forward(x)


def scaled(factor: float) -> TensorDataset:
    x = inputs(1)
    return TensorDataset(torch.cat([x[:100], factor * x[100:]]), right(x))


def other_train() -> TensorDataset:
    x = inputs(0)
    return TensorDataset(torch.cat([x[:100], 1.01 * x[100:]]), right(x))


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (lambda: task(metric=balanced), "metric"),
        (lambda: task(metric=lambda outputs, labels: balanced(outputs, labels)), "metric"),
        (lambda: task(validation=scaled(0.5)), "content of validation"),
        (lambda: task(test=TensorDataset(inputs(2).flip(0), right(inputs(2)))), "test"),
        (lambda: task(train=other_train()), "content of train"),
        (lambda: task(calibration=inputs(9)), "calibration inputs"),
        (lambda: task(teacher=Scaled()), "forward pass of the teacher"),
        (lambda: task(teacher=nn.Sequential(Knows(), nn.Softmax(1))), "teacher"),
    ],
)
def test_another_task_is_refused_and_what_differs_is_said(tmp_path: Path, other: Callable[[], Task], said: str) -> None:
    check_identity(tmp_path, task(metric=mean_of_hits).prepared())
    begun = (tmp_path / "identity.json").read_bytes()
    check_identity(tmp_path, task(metric=mean_of_hits).prepared())
    changed = other()
    changed = changed if changed.metric is not None else replace(changed, metric=mean_of_hits)
    with pytest.raises(StorageError, match=f"begun with another {said}") as refused:
        check_identity(tmp_path, changed.prepared())
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 400
    assert (tmp_path / "identity.json").read_bytes() == begun


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("0.123", "0.124", True), ("9.99", "10", True), ("-0.0502", "-0.0501", True), ("1.23e+04", "1.24e+04", True),
     ("0.123", "0.125", False), ("0.123", "undefined", False), ("0.5", "0.516", False)],
)  # fmt: skip
def test_the_last_digit_of_a_metric_is_that_of_the_machine(one: str, other: str, same: bool) -> None:
    """Another processor, or number of threads, adds in another order: a figure between two of them falls either way."""
    before, now = ({"metric": f"RMSE (minimize), {each} on 64 inputs"} for each in (one, other))
    assert (not differences(before, now)) == (not differences(now, before)) == same
    for another in ("MAE (minimize), 0.124 on 64 inputs", "RMSE (minimize), 0.124 on 60 inputs"):
        assert differences(before, {"metric": another})
    assert differences({"teacher": "0.123 a"}, {"teacher": "0.124 a"}), "a digest is no figure"


def test_the_code_of_a_metric_counts_but_not_its_comments(tmp_path: Path) -> None:
    def written(text: str) -> Any:
        path = tmp_path / "metric.py"
        path.write_text(text)
        import importlib.util
        import linecache

        linecache.clearcache()
        spec = importlib.util.spec_from_file_location("metric", path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.share

    head = "def share(outputs, labels):\n"
    one = head + "    return float((outputs.argmax(1) == labels).float().mean())\n"
    remarked = head + "    '''Of right answers.'''\n    # a remark\n" + one.partition("\n")[2]
    capped = head + "    return min(0.999999, float((outputs.argmax(1) == labels).float().mean()))\n"
    names = [identity_of(task(metric=written(text)).prepared())["metric's code"] for text in (one, remarked, capped)]
    assert names[0] == names[1] != names[2]


def test_a_study_of_an_older_version_goes_on_and_learns_what_it_did_not_know(tmp_path: Path) -> None:
    whole = identity_of(task().prepared())
    old = {name: whole[name] for name in ("teacher", "metric", "train", "validation", "test")}
    (tmp_path / "identity.json").write_text(json.dumps(old))
    check_identity(tmp_path, task().prepared())
    assert json.loads((tmp_path / "identity.json").read_text()) == whole


def test_another_library_version_is_refused_and_answers_may_differ_in_their_last_digits(tmp_path: Path) -> None:
    known = identity_of(task().prepared())
    first, *rest = known["answers"].split()
    (tmp_path / "identity.json").write_text(
        json.dumps({**known, "answers": " ".join([f"{float(first) * (1 + 1e-5):.8g}", *rest])})
    )
    check_identity(tmp_path, task().prepared())
    (tmp_path / "identity.json").write_text(json.dumps({**known, "version of torch": "1.0"}))
    with pytest.raises(StorageError, match=r"another version of torch \(1.0, now "):
        check_identity(tmp_path, task().prepared())


UNSEEDED = """
from dataclasses import replace
import torch
from torch.utils.data import ConcatDataset, random_split
import tiny_task

def task():
    made = tiny_task.task()
    train, validation = random_split(ConcatDataset([made.train, made.validation]), [1100, 300])
    return replace(made, train=train, validation=validation)
"""


def test_a_worker_that_makes_other_splits_is_refused(tiny_task: Path, opened_context: ExecutorContext) -> None:
    """Its students would be taught on images that the search judges them by."""
    path = tiny_task.with_name("unseeded.py")
    path.write_text(UNSEEDED)
    settings = opened_context.settings.changed("task", **{"from": str(path)})
    folder = path.parent / "unseeded"
    folder.mkdir()
    (folder / "teacher.safetensors").write_bytes((opened_context.folder / "teacher.safetensors").read_bytes())
    check_identity(folder, settings.build_task().bare().prepared())
    with pytest.raises(WorkerUnusable, match=r"another task .* another train .* seed random_split"):
        worker._context(settings, folder)


class Flipped(Dataset[Any]):
    def __len__(self) -> int:
        return 150

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        x = inputs(1)[index]
        return (x.flip(0) if torch.rand(()) < 0.5 else x), int(right(x[None]))


@pytest.mark.parametrize("split", ["validation", "test"])
def test_random_augmentation_of_a_split_that_is_judged_by_is_refused(split: str) -> None:
    with pytest.raises(DataError, match=f"the {split} split gives other items .* augmentation"):
        task(**{split: Flipped()}).prepared()
    assert task(train=Flipped()).prepared().train is not None, "training may"


@pytest.mark.parametrize("content", ["[]", '"x"', '{"answers": 7}', '{"answers": "no numbers"}'])
def test_a_damaged_identity_is_told_in_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "identity.json").write_text(content)
    with pytest.raises(StorageError, match=r"identity\.json: damaged, holds no identity of a task") as refused:
        check_identity(tmp_path, task().prepared())
    assert "\n" not in str(refused.value) and (tmp_path / "identity.json").read_text() == content
