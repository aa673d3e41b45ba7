"""Task files and networks as users write them: what cannot be is told in one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_tasks import Knows, splits
from torch import nn

from autocompress import Task
from autocompress.errors import AutoCompressError, DataError
from autocompress.studies.task import load_task


def task() -> Task:
    return Task(Knows(), **splits())


TASKS = """
import sys, torch
from torch import nn
def exits(): sys.exit("stop")
def raises(): raise RuntimeError("two\\nlines")
def mapping(): return {"teacher": 1}
def nothing(): return None
def state():
    from autocompress import Task
    return Task(nn.Linear(2, 2).state_dict(), [], [], [])
def needs(argument): return argument
number = 7
"""


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ("odd.py:exits", ("line 4", "SystemExit: stop")),
        ("odd.py:raises", ("line 5", "RuntimeError: two lines")),
        ("odd.py:mapping", ("returned a dict, not a Task",)),
        ("odd.py:nothing", ("returned a NoneType",)),
        ("odd.py:state", ("teacher is a OrderedDict",)),
        ("odd.py:needs", ("missing 1 required positional argument",)),
        ("odd.py:number", ("unknown function 'number'",)),
        ("odd.py:", ("unknown function ''",)),
        ("odd.py", ("unknown function 'task'",)),
        ("nowhere.py", ("no file 'nowhere.py'",)),
        (".", ("names no function",)),
        ("dir/", ("names no function",)),
        ("dir.py", ("no file 'dir.py'",)),
        ("", ("names no function",)),
        (":", ("names no function",)),
        (":task", ("names no function",)),
        ("broken.py", ("line 1", "SyntaxError")),
        ("bytes.py", ("SyntaxError",)),
        ("no.such.module:task", ("No module named",)),
        ("../up:task", ("",)),
        ("a b:task", ("No module named",)),
    ],
)
def test_a_task_that_cannot_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str, wanted: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("odd.py").write_text(TASKS)
    Path("broken.py").write_text("def task(:")
    Path("bytes.py").write_bytes(b"\xff\xfe")
    Path("dir.py").mkdir()
    with pytest.raises(AutoCompressError) as told:
        load_task(spec)
    said = str(told.value)
    assert "\n" not in said and all(part in said for part in wanted), said


AUXILIARY = """
from collections import namedtuple
import torch
from torch import nn
Outputs = namedtuple("Outputs", ["logits", "aux_logits"])
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head, self.aux = nn.Conv2d(1, 4, 3, 2), nn.Linear(4, 10), nn.Linear(4, 10)
    def forward(self, x):
        x = self.body(x).mean((2, 3))
        return Outputs(self.head(x), self.aux(x)) if self.training else self.head(x)
class Normed(Net):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
    def forward(self, x):
        return self.head(self.norm(self.body(x).mean((2, 3))))
def model(): return Net()
def normed(): return Normed()
def breaks(): return nn.Linear(3, 3)
"""


def study_of(tmp_path: Path, model: str, more: str = "") -> Any:
    from autocompress.studies.study_file import load_study

    (tmp_path / "net.py").write_text(AUXILIARY)
    path = tmp_path / "study.toml"
    path.write_text(f'[data]\nkind = "digits"\n[teacher]\nmodel = "net.py:{model}"\nepochs = 1\n{more}')
    return load_study(path)


def test_a_network_with_an_auxiliary_head_is_trained(tmp_path: Path) -> None:
    from autocompress.studies.teacher import prepare_teacher

    study = study_of(tmp_path, "model")
    prepare_teacher(study, study.build_task().bare(), tmp_path / "kept")
    assert (tmp_path / "kept" / "teacher.safetensors").exists()


@pytest.mark.parametrize(
    ("model", "more", "part"), [("normed", "batch_size = 1", "more than 1 value"), ("breaks", "", "mat1 and mat2")]
)
def test_a_teacher_that_cannot_be_trained(tmp_path: Path, model: str, more: str, part: str) -> None:
    from autocompress.studies.teacher import prepare_teacher

    study = study_of(tmp_path, model, more)
    with pytest.raises(AutoCompressError, match=part) as told:
        prepare_teacher(study, study.build_task().bare(), tmp_path / "kept")
    assert "\n" not in str(told.value)


def test_norms_that_cannot_learn_from_batches_of_one_are_told_before_the_first_trial() -> None:
    from autocompress.studies.checks import check_training

    normed = nn.Sequential(Knows(), nn.BatchNorm1d(4))
    prepared = replace(task(), teacher=normed).bare().prepared()
    check_training(prepared.teacher, prepared.train, prepared.losses, 2)
    with pytest.raises(DataError, match="step of training on 1 inputs"):
        check_training(prepared.teacher, prepared.train, prepared.losses, 1)


def test_a_batch_that_does_not_fit_into_memory() -> None:
    from autocompress.search.evaluate.batch_memory import check_batch

    prepared = task().bare().prepared()
    check_batch(prepared, 1000)
    with pytest.raises(AutoCompressError, match=r"batch = 1000000000000 needs .* GiB"):
        check_batch(prepared, 10**12)
