"""Norms of students, whatever package brings them and however slow they are, know the student's own activations."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nets
import numpy as np
import pytest
import torch
from exported import answers
from torch import Tensor, nn
from torch.nn import functional as F

from autocompress.compression.distill import Lessons
from autocompress.compression.edits import Parent, edited
from autocompress.compression.export import make_template
from autocompress.compression.norms import norms_of, reestimate_norms
from autocompress.compression.recover import Recoverer
from autocompress.compression.schedule import Schedule
from autocompress.compression.sensitivity import measure_sensitivity
from autocompress.compression.student import Student, make_student
from autocompress.spaces.context import SpaceContext
from autocompress.spaces.graph.capture import capture
from autocompress.spaces.network import Network, look_at_network
from autocompress.spaces.spec import Recovery, StudentSpec
from autocompress.studies.data.images import ImageData

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exact arithmetic wherever the tests run."""
    monkeypatch.setattr("autocompress.compression.precision._cpu_has_fast_bf16", lambda: False)


class NormOfAnotherPackage(nn.BatchNorm2d):
    """As timm's with an activation in it, whose forward pass is its own."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        statistics = self.running_mean, self.running_var
        found = F.batch_norm(x, *statistics, self.weight, self.bias, self.training, self.momentum or 0.0, self.eps)
        return self.act(found)


def usual(channels: int) -> nn.Module:
    return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU())


def with_momentum(momentum: float | None) -> Callable[[int], nn.Module]:
    return lambda channels: nn.Sequential(nn.BatchNorm2d(channels, momentum=momentum), nn.ReLU())


@dataclass
class Taught:
    """A captured teacher, 64 images, and what teaches its students."""

    model: nn.Module
    network: Network
    images: Tensor
    recoverer: Recoverer

    @classmethod
    def of(cls, norm: Callable[[int], nn.Module], epochs: float = 4.0) -> Taught:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            layers = [nn.Conv2d(1, 8, 3, padding=1, bias=False), norm(8), nn.Conv2d(8, 16, 3, bias=False), norm(16)]
            plain = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))
        images = torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(1))
        model = capture(nets.shaken(plain).eval(), images[:1])
        data = ImageData(images, torch.arange(64) % 10)
        schedule = Schedule(epochs, (1.0,), batch_size=16)
        recoverer = Recoverer(data, Lessons(model, "6", CPU), schedule, CPU, contextlib.nullcontext)
        return cls(model, look_at_network(model, images[:1]), images, recoverer)

    @property
    def parent(self) -> Parent:
        return Parent.of(self.model, self.network)

    @property
    def spec(self) -> StudentSpec:
        return StudentSpec({g.name: g.channels // 2 for g in self.network.groups}, recovery=Recovery())

    def student(self) -> Student:
        return make_student(self.parent, self.spec)

    def recovered(self, path: Path) -> nn.Module:
        student = self.student()
        self.recoverer.recover(student, self.spec, 0, path, lambda: False)
        return student.module


def statistics_of(module: nn.Module) -> list[Tensor]:
    return [value for norm in norms_of(module) for value in (norm.running_mean, norm.running_var) if value is not None]


def assert_alike(one: nn.Module, other: nn.Module) -> None:
    for mine, its in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-3, atol=1e-5)
    own, theirs = statistics_of(one), statistics_of(other)
    assert len(own) == len(theirs) == 4
    for mean, wanted in zip(own, theirs, strict=True):
        torch.testing.assert_close(mean, wanted, rtol=1e-3, atol=1e-5)


def test_norms_of_another_package_do_in_students_what_torchs_own_do(tmp_path: Path) -> None:
    others, plain = Taught.of(NormOfAnotherPackage), Taught.of(usual)
    student, twin = others.student().module, plain.student().module
    small = edited(others.parent, others.spec)[0]
    assert student.state_dict().keys() == small.state_dict().keys() == others.model.state_dict().keys()
    with torch.no_grad():
        torch.testing.assert_close(student(others.images), small(others.images))
    student.load_state_dict(dict(small.state_dict()))  # as a checkpoint of an earlier version has it
    reestimate_norms(student, others.images, 16)
    reestimate_norms(twin, plain.images, 16)
    assert_alike(student, twin)
    assert_alike(others.recovered(tmp_path / "others.pt"), plain.recovered(tmp_path / "plain.pt"))


def test_what_channels_are_worth_does_not_hang_on_the_package_of_norms() -> None:
    figures = []
    for norm in (NormOfAnotherPackage, usual):
        found = Taught.of(norm)
        context = SpaceContext(found.network.layers, found.network.groups, nets.CAN_MORE)
        rows = measure_sensitivity(found.model, nets.space_over(context, "channels"), found.images).rows
        figures.append([m.nats for _, row in sorted(rows.items()) for m in row])
    assert figures[0] and figures[0] == pytest.approx(figures[1], rel=1e-3, abs=1e-6)


def test_files_answer_as_students_with_norms_of_another_package() -> None:
    student, images = Taught.of(NormOfAnotherPackage).student().module, torch.randn(3, 1, 8, 8)
    with torch.no_grad():
        expected = student(images).numpy()
    file = make_template(student, images[:1], exact=True).write(student)
    np.testing.assert_allclose(answers(file, images), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("momentum", [0.0003, None])
def test_norms_that_hardly_follow_know_what_a_student_sees_after_a_short_training(
    momentum: float | None, tmp_path: Path
) -> None:
    found = Taught.of(with_momentum(momentum), epochs=12.0)
    for norm in norms_of(found.model):
        assert norm.num_batches_tracked is not None
        norm.num_batches_tracked.fill_(100_000)  # as after the teacher's own training
    student = found.recovered(tmp_path / "student.pt")
    learned = [value.clone() for value in statistics_of(student)]
    reestimate_norms(student, found.images, 16)
    for mine, real in zip(learned, statistics_of(student), strict=True):
        assert float((mine - real).abs().max()) < 0.2 * float(real.abs().max())
