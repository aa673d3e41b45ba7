"""Recovery: training in rungs is training straight through, and the teacher is asked once."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nets
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from autocompress.compression.distill import FeatureTap, Lesson, Lessons
from autocompress.compression.edits import Parent
from autocompress.compression.recover import Recoverer, Stopped
from autocompress.compression.recovered import load_recovered, read_weights
from autocompress.compression.schedule import (
    ENOUGH_STEPS,
    EPOCHS,
    LARGE_BATCH,
    MOST_EPOCHS,
    SMALL_BATCH,
    Schedule,
    fitting_schedule,
    learning_rate_factor,
)
from autocompress.compression.student import Student, make_student
from autocompress.compression.warm_start import warm_parent
from autocompress.errors import TrialFailed
from autocompress.spaces.groups import find_groups
from autocompress.spaces.layers import find_layers
from autocompress.spaces.spec import Pattern, Recovery, StudentSpec
from autocompress.studies.data.images import ImageData
from autocompress.studies.data.streams import StreamedData
from autocompress.studies.models import cifar_resnet, digits_net

CPU = torch.device("cpu")
Never: Callable[[], bool] = lambda: False  # noqa: E731


class Counting(nn.Module):
    """The teacher, counting how often it is asked."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.asked = inner, 0

    def forward(self, x: Tensor) -> Tensor:
        self.asked += 1
        return self.inner(x)


class Bench:
    """A small residual teacher, 120 random images and a specification with every kind of decision in it."""

    def __init__(self, epochs: float = 3.0, rungs: tuple[float, ...] = (0.4, 1.0), scale: float = 1.0) -> None:
        torch.manual_seed(0)
        self.model = cifar_resnet(8, width=8, shortcut="conv", channels=1).eval()
        images = scale * torch.randn(120, 1, 8, 8, generator=torch.Generator().manual_seed(1))
        self.data = ImageData(images, torch.arange(120) % 10)
        example = images[:1]
        layers = find_layers(self.model, example)
        self.groups, _ = find_groups(self.model, example, {x.name: x.depth for x in layers})
        self.teacher = Counting(self.model)
        self.schedule = Schedule(epochs, rungs, batch_size=24)
        lessons = _OwnNames(self.teacher, "linear", CPU)
        self.recoverer = Recoverer(self.data, lessons, self.schedule, CPU, contextlib.nullcontext)
        channels = {g.name: g.channels // 2 for g in self.groups}
        self.spec = StudentSpec(
            channels,
            {"layer2.0.conv1": 8, "linear": 4},
            {"layer3.0.conv2": Pattern("2:4", 0.5), "layer1.0.conv1": Pattern("unstructured", 0.5)},
            Recovery(3.0, 0.6, 0.02, 0.5, quantization_aware=True),
        )

    def student(self, spec: StudentSpec | None = None) -> Student:
        return make_student(Parent(self.model, self.groups), spec or self.spec)


class _OwnNames(Lessons):
    """Lessons of a counted teacher, whose layers lie one level deeper than the student's."""

    def lesson(self, *args: Any, **more: Any) -> Lesson:
        name, self.last_layer = self.last_layer, f"inner.{self.last_layer}"
        try:
            return super().lesson(*args, **more)
        finally:
            self.last_layer = name


def assert_same(a: nn.Module, b: nn.Module) -> None:
    other = b.state_dict()
    for key, value in a.state_dict().items():
        torch.testing.assert_close(value, other[key], rtol=1e-5, atol=1e-6)


def distance_to(teacher: nn.Module, student: nn.Module, data: ImageData) -> float:
    """The mean square difference of their outputs."""
    inputs = data.inputs(slice(None))
    with torch.no_grad():
        return float((student.eval()(inputs) - teacher(inputs)).square().mean())


def test_training_in_rungs_is_training_straight_through(tmp_path: Path) -> None:
    bench = Bench()
    straight = bench.student()
    bench.recoverer.recover(straight, bench.spec, 1, tmp_path / "straight.pt", Never)
    first = bench.student()
    bench.recoverer.recover(first, bench.spec, 0, tmp_path / "rungs.pt", Never)
    assert any(
        not torch.equal(a, b) for a, b in zip(first.module.parameters(), straight.module.parameters(), strict=True)
    )
    later = bench.student()  # another process: nothing but the checkpoint is left of the first rung
    bench.recoverer.recover(later, bench.spec, 1, tmp_path / "rungs.pt", Never)
    assert_same(later.module, straight.module)
    again = bench.student()
    load_recovered(again, bench.spec, tmp_path / "rungs.pt")
    assert_same(again.module, straight.module)
    assert not again.module.training and not later.module.training


@pytest.mark.parametrize("aware", [True, False])
def test_ranges_that_were_learned_come_with_the_weights(tmp_path: Path, aware: bool) -> None:
    bench = Bench()
    assert bench.spec.recovery is not None
    spec = replace(bench.spec, recovery=replace(bench.spec.recovery, quantization_aware=aware))
    fake = bench.recoverer.recover(bench.student(spec), spec, 1, tmp_path / "last.pt", Never)
    again = load_recovered(bench.student(spec), spec, tmp_path / "last.pt")
    if not aware:
        assert again.trained_ranges == {}
        return
    assert set(again.trained_ranges) == {"layer2.0.conv1"}, "layers of 4 bits have inputs in float"
    learned = fake.ranges["layer2.0.conv1"].tolist()
    assert list(again.trained_ranges["layer2.0.conv1"]) == pytest.approx(learned)


def test_answers_belong_to_the_order_of_their_seed(tmp_path: Path) -> None:
    """A study goes on with the seed of each trial, whatever the run has: the answers of one order fit no other."""
    shared, alone = Bench(), Bench()
    shared.recoverer.recover(shared.student(), shared.spec, 1, tmp_path / "first.pt", Never)
    students = []
    for number, bench in enumerate((shared, alone)):
        students.append(bench.student())
        bench.recoverer.with_seed(7).recover(students[-1], bench.spec, 1, tmp_path / f"{number}.pt", Never)
    assert_same(students[0].module, students[1].module)


def test_the_teacher_is_asked_once_for_each_batch(tmp_path: Path) -> None:
    bench = Bench()
    for number in range(3):
        bench.recoverer.recover(bench.student(), bench.spec, 1, tmp_path / f"{number}.pt", Never)
    assert bench.teacher.asked == bench.schedule.steps(bench.data) == 15


def test_masks_and_shapes_hold_through_training(tmp_path: Path) -> None:
    bench = Bench()
    student = bench.student()
    before = {k: v.clone() for k, v in student.module.state_dict().items()}
    bench.recoverer.recover(student, bench.spec, 1, tmp_path / "c.pt", Never)
    for name, mask in student.masks.items():
        weight = student.module.get_submodule(name).weight
        assert bool((weight[mask == 0] == 0).all()) and bool((weight[mask == 1] != 0).all())
    assert all(before[k].shape == v.shape for k, v in student.module.state_dict().items())
    assert not torch.equal(before["conv1.weight"], student.module.state_dict()["conv1.weight"]), "it did learn"


def test_a_student_comes_nearer_to_its_teacher(tmp_path: Path) -> None:
    bench = Bench(epochs=4)
    spec = replace(bench.spec, bits={}, patterns={}, recovery=Recovery(2.0, 1.0, 0.02))
    student = bench.student(spec)
    before = distance_to(bench.model, student.module, bench.data)
    bench.recoverer.recover(student, spec, 1, tmp_path / "c.pt", Never)
    assert distance_to(bench.model, student.module, bench.data) < before


@pytest.mark.parametrize(("slices", "optimizer"), [(0, "sgd"), (1, "sgd"), (2, "sgd"), (1, "adamw")])
def test_a_stopped_training_goes_on_where_it_was(tmp_path: Path, slices: int, optimizer: str) -> None:
    bench = Bench(epochs=2.4, rungs=(1.0,))
    assert bench.spec.recovery is not None
    bench.spec = replace(bench.spec, recovery=replace(bench.spec.recovery, optimizer=optimizer))
    straight = bench.student()
    bench.recoverer.recover(straight, bench.spec, 0, tmp_path / "straight.pt", Never)
    path = tmp_path / "c.pt"
    calls = itertools.count()
    with pytest.raises(Stopped):
        bench.recoverer.recover(bench.student(), bench.spec, 0, path, lambda: next(calls) >= slices)
    assert {p.suffix for p in tmp_path.iterdir()} == {".pt"}, "no half checkpoint"
    later = bench.student()
    bench.recoverer.recover(later, bench.spec, 0, path, Never)
    assert_same(later.module, straight.module)


@pytest.mark.parametrize(("scale", "learning_rate"), [(1.0, 1e30), (float("inf"), 0.01)])
def test_a_diverging_training_fails_the_trial_and_keeps_no_checkpoint(
    tmp_path: Path, scale: float, learning_rate: float
) -> None:
    bench = Bench(scale=scale)
    spec = replace(bench.spec, recovery=Recovery(learning_rate=learning_rate))
    with pytest.raises(TrialFailed, match="loss became") as caught:
        bench.recoverer.recover(bench.student(spec), spec, 1, tmp_path / "c.pt", Never)
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


def test_a_student_with_other_activations_is_taught_and_warms_a_neighbour(tmp_path: Path) -> None:
    net = nets.net("grouped")
    data = ImageData(net.inputs(48), torch.arange(48) % 10)
    spec = replace(net.spec(channels=0.5), replacements={"2": "Hardswish"}, recovery=Recovery(1.0, 1.0, 0.1))
    student = net.student(spec)
    lessons = Lessons(net.model, "9", CPU)
    recoverer = Recoverer(data, lessons, Schedule(12.0, (1.0,), 16), CPU, contextlib.nullcontext)
    untrained = distance_to(net.model, student.module, data)
    recoverer.recover(student, spec, 0, tmp_path / "c.pt", Never)
    assert distance_to(net.model, student.module, data) < untrained
    groups = net.context.groups
    child = make_student(warm_parent(Parent(net.model, groups), spec, read_weights(tmp_path / "c.pt")), spec)
    assert isinstance(child.module.get_submodule("2"), nn.Hardswish)
    assert_same(child.module, student.module)


@given(st.integers(1, 500))
def test_the_learning_rate_rises_shortly_then_falls_to_nearly_nothing(total: int) -> None:
    factors = [learning_rate_factor(step, total) for step in range(total)]
    assert all(0 < f <= 1 for f in factors) and max(factors) == 1
    peak = factors.index(1)
    assert factors[: peak + 1] == sorted(factors[: peak + 1])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)


def test_features_are_compared_with_the_teachers_own_that_stayed() -> None:
    # a student that only lost channels of its last stage gives, there, exactly the teacher's features
    bench = Bench()
    last = next(g for g in bench.groups if "linear" in {m.layer for m in g.members if m.side == "in"})
    student = bench.student(StudentSpec({last.name: last.channels // 2}))
    kept = list(student.stayed_inputs["linear"])
    assert len(kept) == last.channels // 2
    assert kept == last.keep(last.channels // 2)
    with torch.no_grad(), FeatureTap(bench.model, "linear") as of_teacher, FeatureTap(student.module, "linear") as own:
        inputs = bench.data.inputs(slice(0, 4))
        bench.model(inputs)
        student.module.eval()(inputs)
    assert own.features.shape == of_teacher.features[:, kept].shape
    if "layer3.0.conv2" in {m.layer for m in last.members if m.side == "out"}:
        torch.testing.assert_close(own.features, of_teacher.features[:, kept], rtol=1e-4, atol=1e-5)


class Jittered(torch.utils.data.Dataset[tuple[torch.Tensor, int]]):
    """Items that are another each time, as random augmentation makes them; notes which were asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        self.asked.append(index)
        return torch.randn(1, 16, 16), index % 10


def test_streamed_data_is_trained_on_over_rungs_that_end_within_an_epoch(tmp_path: Path) -> None:
    source = Jittered()
    net = digits_net().eval()
    spec = StudentSpec(recovery=Recovery(learning_rate=0.01))
    schedule = Schedule(epochs=1.0, rungs=(0.5, 1.0), batch_size=16)
    lessons = Lessons(net, None, torch.device("cpu"))
    recoverer = Recoverer(StreamedData(source), lessons, schedule, lessons.device, contextlib.nullcontext)
    for rung in (0, 1):
        student = make_student(Parent(net), spec)
        recoverer.recover(student, spec, rung, tmp_path / "student.pt", lambda: False)
    assert len(source.asked) >= 64


@given(st.integers(1, 10**6), st.none() | st.floats(0.1, 50), st.none() | st.integers(1, 512))
def test_a_schedule_has_enough_steps_where_the_data_allow_it(
    examples: int, epochs: float | None, batch_size: int | None
) -> None:
    found, size = fitting_schedule(examples, epochs, batch_size)
    assert found == epochs or (epochs is None and EPOCHS <= found <= MOST_EPOCHS)
    assert size == batch_size or (batch_size is None and SMALL_BATCH <= size <= LARGE_BATCH)
    steps = found * examples / size
    if batch_size is None and size > SMALL_BATCH:
        assert steps >= ENOUGH_STEPS, "a larger batch only where there are enough of them"
    if epochs is None and found > EPOCHS:
        assert steps <= 1.01 * ENOUGH_STEPS, "more passes only where there are too few steps"
    assert fitting_schedule(50_000) == (2.0, 128)
