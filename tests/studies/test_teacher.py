"""Networks by name, their weights on disk, and the teacher of a study."""

from __future__ import annotations

import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from autocompress.errors import DataError, StorageError, StudyFileError, UnknownName, UsageError
from autocompress.studies.checkpoint import fit_weights, load_weights, read_notes, save_weights
from autocompress.studies.data.images import ImageData
from autocompress.studies.kinds import KindName
from autocompress.studies.models import CIFAR_DEPTHS, build_model, cifar_resnet, digits_net
from autocompress.studies.study_file import StudyFile, load_study
from autocompress.studies.task import Task
from autocompress.studies.teacher import TeacherStopped, prepare_teacher


def equal(a: nn.Module, b: nn.Module) -> bool:
    other = b.state_dict()
    return all(torch.equal(value, other[key]) for key, value in a.state_dict().items())


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_weights_come_back(tmp_path: Path, suffix: str) -> None:
    model, other = build_model("digits_net", 10, 1, 8, seed=1), build_model("digits_net", 10, 1, 8, seed=2)
    path = tmp_path / f"w{suffix}"
    if suffix == ".pt":
        torch.save({"state_dict": {f"module.{k}": v for k, v in model.state_dict().items()}}, path)
    else:
        save_weights(model, path, {"key": "7"})
        assert read_notes(path) == {"key": "7"} and list(tmp_path.iterdir()) == [path]
    assert not equal(model, other)
    load_weights(other, path)
    assert equal(model, other)


class Halves(nn.Module):
    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.encoder, self.head = nn.Sequential(nn.Linear(4, 4), nn.ReLU()), nn.Linear(4, 2)


@pytest.mark.parametrize(
    "wrapped", ["whole", "compiled in parallel", "parallel and compiled", "a part", "a parallel part"]
)
def test_weights_come_back_of_networks_that_were_compiled_or_parallel_when_they_were_saved(wrapped: str) -> None:
    model, other = Halves(1), Halves(2)
    expected = [value.clone() for value in model.state_dict().values()]
    saved: Any = model
    if wrapped == "whole":
        saved = torch.compile(model)
    elif wrapped == "compiled in parallel":
        saved = nn.DataParallel(torch.compile(model))  # type: ignore[arg-type]
    elif wrapped == "parallel and compiled":
        saved = torch.compile(nn.DataParallel(model))
    else:
        model.encoder = torch.compile(model.encoder) if wrapped == "a part" else nn.DataParallel(model.encoder)
    state = saved.state_dict()
    assert not state.keys() <= other.state_dict().keys()
    fit_weights(other, state, "the weights")
    assert all(torch.equal(a, b) for a, b in zip(expected, other.state_dict().values(), strict=True))
    fit_weights(saved, Halves(3).state_dict(), "plain weights")
    assert equal(model.head, Halves(3).head), "names of a wrapped network are found in a plain file too"


class Evil:
    def __reduce__(self) -> Any:
        return os.system, ("touch pwned",)


def test_pickled_code_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for save in (torch.save, lambda thing, path: path.write_bytes(pickle.dumps(thing))):
        save({"state_dict": Evil()}, tmp_path / "evil.pt")
        with pytest.raises(DataError, match=r"evil.pt: (holds pickled|not a readable)"):
            load_weights(nn.Linear(1, 1), tmp_path / "evil.pt")
    torch.save(nn.Linear(1, 1), tmp_path / "whole.pt")
    with pytest.raises(DataError, match="pickled Python objects"):
        load_weights(nn.Linear(1, 1), tmp_path / "whole.pt")
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_damaged_checkpoints(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"w{suffix}"
    model = nn.Linear(64, 64)
    if suffix == ".pt":
        torch.save(model.state_dict(), path)
    else:
        save_weights(model, path)
    content = path.read_bytes()
    for damaged in (b"", b"hello", content[:100], content[: len(content) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="not a readable") as caught:
            load_weights(model, path)
        assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="no checkpoint"):
        load_weights(model, tmp_path / f"absent{suffix}")


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"weight": torch.zeros(2, 3)}, "has no weights 'bias'"),
        ({"weight": torch.zeros(2, 3), "bias": torch.zeros(2), "extra": torch.zeros(1)}, "'extra' have no place"),
        ({"weight": torch.zeros(3, 3), "bias": torch.zeros(2)}, r"'weight' have shape \[3, 3\], .* \[2, 3\]"),
        ({"weight": 3}, "holds no state_dict"),
        ([1, 2], "holds no state_dict"),
    ],
)
def test_weights_that_do_not_fit_name_the_first_key(tmp_path: Path, state: Any, message: str) -> None:
    torch.save(state, tmp_path / "w.pt")
    model = nn.Linear(3, 2)
    before = model.weight.clone()
    with pytest.raises(DataError, match=message):
        load_weights(model, tmp_path / "w.pt")
    assert torch.equal(model.weight, before)


def test_a_disk_that_is_full_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(nn.Linear(2, 2), path)
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="the disk is full"):
        save_weights(nn.Linear(2, 2), path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_networks_by_name(tmp_path: Path) -> None:
    for depth in CIFAR_DEPTHS[:2]:
        model = build_model(f"cifar_resnet{depth}", 7, width=4)
        assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 7) and not model.training
    assert sum(p.numel() for p in cifar_resnet(20).parameters()) == 269_722, "He et al.: 0.27 million"
    assert digits_net()(torch.zeros(2, 1, 16, 16)).shape == (2, 10)
    assert build_model("torchvision/resnet18", 3)(torch.zeros(1, 3, 32, 32)).shape == (1, 3)
    (tmp_path / "net.py").write_text("import torch\ndef model(): return torch.nn.Linear(2, 5)")
    assert isinstance(build_model("net.py", 5, folder=tmp_path), nn.Linear)
    assert equal(build_model("digits_net", 10, 1, seed=3), build_model("digits_net", 10, 1, seed=3))


def test_unknown_networks() -> None:
    with pytest.raises(UnknownName, match="did you mean 'cifar_resnet"):
        build_model("cifar_resnet21", 10)
    with pytest.raises(UnknownName, match="did you mean 'mobilenet_v2'"):
        build_model("torchvision/mobilenetv2", 10)
    with pytest.raises(UsageError, match="width = 8 does not apply"):
        build_model("torchvision/resnet18", 10, width=8)
    with pytest.raises(UsageError, match="6n"):
        cifar_resnet(21)


@pytest.mark.parametrize("depth", [20, 56])
def test_published_checkpoints_load(depth: int) -> None:
    path = Path(os.environ.get("AUTOCOMPRESS_DATA", "")) / f"resnet{depth}.th"
    if not path.is_file():
        pytest.skip(f"AUTOCOMPRESS_DATA names no folder with {path.name}")
    model = cifar_resnet(depth).eval()
    load_weights(model, path)
    with torch.no_grad():
        assert bool(torch.isfinite(model(torch.zeros(1, 3, 32, 32))).all())


@pytest.fixture(scope="module")
def study() -> StudyFile:
    return load_study("digits").changed("teacher", width=4, epochs=2)


@pytest.fixture(scope="module")
def task(study: StudyFile) -> Task:
    """The study's task with fewer images to train on, as no law here needs more."""
    task = study.build_task()
    assert isinstance(task.train, ImageData)
    return replace(task, train=task.train.take(range(192)))


def test_teacher_is_trained_once_and_kept(tmp_path: Path, study: StudyFile, task: Task) -> None:
    seen: list[tuple[int, int, float]] = []
    first = prepare_teacher(study, task, tmp_path, progress=lambda *args: seen.append(args))
    assert [s[:2] for s in seen] == [(1, 2), (2, 2)] and seen[1][2] < seen[0][2]
    assert not first.training and not equal(first, task.teacher)
    seen.clear()
    assert equal(prepare_teacher(study, task, tmp_path, progress=lambda *args: seen.append(args)), first)
    assert not seen
    other = study.changed("teacher", epochs=1)
    prepare_teacher(other, task, tmp_path, progress=lambda *args: seen.append(args))
    assert len(seen) == 1, "another [teacher] section is another teacher"


def test_a_study_that_was_begun_keeps_its_teacher(tmp_path: Path, study: StudyFile, task: Task) -> None:
    """A task may start from random weights, which are others each time."""
    brief = study.changed("teacher", epochs=1)
    first = prepare_teacher(brief, task, tmp_path)
    content = (tmp_path / "teacher.safetensors").read_bytes()
    (tmp_path / "identity.json").write_text("{}")
    other = replace(task, teacher=build_model("digits_net", 10, 1, 4, seed=9))
    assert not equal(other.teacher, task.teacher)
    said: list[str] = []
    assert equal(prepare_teacher(brief, other, tmp_path, said.append), first)
    assert (tmp_path / "teacher.safetensors").read_bytes() == content
    assert "other first weights" in said[0]


def test_a_damaged_kept_teacher_is_trained_again(tmp_path: Path, study: StudyFile, task: Task) -> None:
    (tmp_path / "teacher.safetensors").write_bytes(b"cut off")
    prepare_teacher(study.changed("teacher", epochs=1), task, tmp_path)
    assert read_notes(tmp_path / "teacher.safetensors")


def test_stopped_training_keeps_nothing(tmp_path: Path, study: StudyFile, task: Task) -> None:
    calls = iter([False, False, True])
    with pytest.raises(TeacherStopped):
        prepare_teacher(study, task, tmp_path, stop=lambda: next(calls))
    assert not list(tmp_path.iterdir())


def test_diverging_training_is_told_in_one_line(tmp_path: Path, study: StudyFile, task: Task) -> None:
    wild = study.changed("teacher", learning_rate=1e20)
    with pytest.raises(StudyFileError, match=r"training diverged .*lower learning_rate"):
        prepare_teacher(wild, task, tmp_path)
    assert not list(tmp_path.iterdir())


def test_without_epochs_the_teacher_is_taken_as_it_is(tmp_path: Path, study: StudyFile, task: Task) -> None:
    assert equal(prepare_teacher(study.changed("teacher", epochs=0), task, tmp_path), task.teacher)


def test_a_network_with_a_part_called_module_gets_its_own_weights_back(tmp_path: Path) -> None:
    class Wrapped(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = torch.nn.Linear(3, 2)

    one, other = Wrapped(), Wrapped()
    save_weights(one, tmp_path / "w.safetensors")
    load_weights(other, tmp_path / "w.safetensors")
    assert torch.equal(one.module.weight, other.module.weight)


class Notes(nn.Linear):
    """Notes whether it is trained in 16 bits."""

    coarse: ClassVar[list[bool]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.coarse.append(torch.is_autocast_enabled(x.device.type))
        return super().forward(x)


@pytest.mark.parametrize(("kind", "coarse"), [("regression", False), ("binary", True)])
def test_a_teacher_of_measured_numbers_is_trained_in_single_precision(
    tmp_path: Path, study: StudyFile, monkeypatch: pytest.MonkeyPatch, kind: KindName, coarse: bool
) -> None:
    """Steps of bfloat16 are eight years wide around the year 2000."""
    monkeypatch.setattr("autocompress.compression.precision._cpu_has_fast_bf16", lambda: True)
    monkeypatch.setattr(Notes, "coarse", [])
    inputs = torch.randn(32, 4)
    data = TensorDataset(inputs, inputs.sum(1) if kind == "regression" else (inputs.sum(1) > 0).long())
    prepare_teacher(study.changed("teacher", epochs=1), Task(Notes(4, 1), data, data, data, kind=kind), tmp_path)
    assert set(Notes.coarse) == {coarse}
