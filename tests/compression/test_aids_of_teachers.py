"""Students that are taught by what a teacher shows beside its outputs."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nets
import pytest
import torch
from aided import ALL_AIDS, CPU, Bench, convolutional, graph_of, same, transformer
from torch import nn

from autocompress.compression.aids import StudentAids, apart, show
from autocompress.compression.distill import Lessons
from autocompress.compression.edits import Parent
from autocompress.compression.places import places_in
from autocompress.compression.projections import Projections
from autocompress.compression.recover import Stopped
from autocompress.compression.recovered import read_checkpoint
from autocompress.compression.student import make_student
from autocompress.compression.taps import read_taps, tapped
from autocompress.errors import UsageError
from autocompress.spaces.graph.capture import capture
from autocompress.spaces.graph.resized import Resizing, find_resizing
from autocompress.spaces.spec import AIDS, Recovery, StudentSpec

Never: Callable[[], bool] = lambda: False  # noqa: E731


@pytest.mark.parametrize("make", [convolutional, transformer])
@pytest.mark.parametrize("aid", AIDS)
def test_each_aid_teaches_early_layers_of_a_narrower_student(make: Callable[[], Bench], aid: str) -> None:
    bench = make()
    student = bench.student()
    module = graph_of(student.module)
    recovery = Recovery(**{f"{aid}_weight": 1.0})
    aids = StudentAids(recovery, module, bench.lessons.places)
    lesson = bench.lessons.lesson(0, 0, bench.images[:8], keep=False, aids=frozenset([aid]))
    outputs = aids.run(bench.images[:8])
    features = torch.randn(8, 3) if aid != "relation" else outputs
    loss = aids.added_to(outputs.new_zeros(()), lesson.shown, features)
    assert float(loss.detach()) > 0
    loss.backward()
    first = next(p for p in module.parameters() if p.ndim == 4)
    assert first.grad is not None and float(first.grad.abs().max()) > 0


@pytest.mark.parametrize("make", [convolutional, transformer])
def test_the_teacher_itself_has_no_distance_to_itself(make: Callable[[], Bench]) -> None:
    bench = make()
    lessons = Lessons(bench.model, bench.lessons.last_layer, CPU, precise=True)
    shown = lessons.lesson(0, 0, bench.images[:8], keep=False, aids=ALL_AIDS).shown
    assert [float(apart(aid, shown, shown, Projections()).detach()) for aid in AIDS] == pytest.approx(
        [0, 0, 0], abs=1e-3
    )


@pytest.mark.parametrize("aware", [False, True])
def test_a_training_with_aids_goes_on_where_it_was_stopped(tmp_path: Path, aware: bool) -> None:
    bench = convolutional(aware)
    spec = bench.with_weights(attention_weight=1.0, hidden_weight=0.5, relation_weight=1.0)
    straight = bench.student(spec)
    bench.recoverer.recover(straight, spec, 1, tmp_path / "straight.pt", Never)
    path, calls = tmp_path / "c.pt", itertools.count()
    with pytest.raises(Stopped):
        bench.recoverer.recover(bench.student(spec), spec, 1, path, lambda: next(calls) >= 4)
    state = read_checkpoint(path)
    assert state is not None and len(state["projections"]) == len(bench.lessons.places.points)
    later = bench.student(spec)
    bench.recoverer.recover(later, spec, 1, path, Never)
    assert same(later.module, straight.module)
    ended = read_checkpoint(path)
    assert ended is not None and "projections" not in ended, "they are thrown away"


@pytest.mark.parametrize(("make", "lost"), [(convolutional, 0), (transformer, 2)])
def test_a_student_without_some_blocks_is_taught_with_every_aid(
    tmp_path: Path, make: Callable[[], Bench], lost: int
) -> None:
    """The only block of the first that can go leaves the activation behind it, where it is looked at."""
    bench = make()
    spec = bench.with_weights(attention_weight=1.0, hidden_weight=0.5, relation_weight=1.0)
    spec = replace(spec, dropped=tuple(block.name for block in bench.parent.blocks)[-2:])
    assert spec.dropped
    student = bench.student(spec)
    module, places = graph_of(student.module), bench.lessons.places
    left = places_in(module, places)
    assert len(left.ends) == len(places.ends) - lost and (left.points != places.points) == bool(lost)
    shown = tapped(module, left)(bench.images[:2])
    assert torch.equal(shown[0], module(bench.images[:2]))
    bench.recoverer.recover(student, spec, 1, tmp_path / "c.pt", Never)
    assert all(bool(torch.isfinite(p).all()) for p in student.module.parameters())


def test_a_student_that_looks_at_smaller_images_is_taught_with_every_aid() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        plain = nets.shaken(nets.small_resnet()).eval()
    images = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    teacher = capture(plain, images[:1])
    resizing = find_resizing(plain, teacher, images[:1], (16, 16), None)
    assert isinstance(resizing, Resizing), resizing
    student = make_student(Parent(teacher, resizings=(resizing,)), StudentSpec(size=16))
    lessons = Lessons(teacher, "fc", CPU)
    wanted = lessons.lesson(0, 0, images, keep=False, aids=ALL_AIDS).shown
    module = graph_of(student.module)
    places = places_in(module, lessons.places)
    found = read_taps(tapped(module, places)(images))
    own = show(ALL_AIDS, places, found, torch.empty(0))
    values = own.hidden[0], wanted.hidden[0]
    assert values[0] is not None and values[1] is not None and values[0].shape[1] * 2 == values[1].shape[1]
    for aid in AIDS:
        assert 0 < float(apart(aid, own, wanted, Projections()).detach()) < 2


def test_each_aid_changes_what_is_learned_and_none_without_weight_does(tmp_path: Path) -> None:
    bench = convolutional()
    found = {}
    for aid in ("", *AIDS):
        spec = bench.with_weights(**({f"{aid}_weight": 0.5} if aid else {}))
        found[aid] = bench.student(spec)
        bench.recoverer.recover(found[aid], spec, 1, tmp_path / f"{aid}.pt", Never)
    for one, other in itertools.combinations(found, 2):
        assert not same(found[one].module, found[other].module)
    again, spec = bench.student(), bench.with_weights(attention_weight=0.0)
    assert spec == bench.spec and spec.key() == bench.spec.key()
    bench.recoverer.recover(again, spec, 1, tmp_path / "again.pt", Never)
    assert same(again.module, found[""].module), "though the teacher has shown more meanwhile"


def test_a_student_looks_more_like_its_teacher_with_an_aid(tmp_path: Path) -> None:
    bench = convolutional()
    apart_by = {}
    for weight in (0.0, 5.0):
        spec = bench.with_weights(attention_weight=weight, learning_rate=0.05)
        student = bench.student(spec)
        bench.recoverer.recover(student, spec, 1, tmp_path / f"{weight}.pt", Never)
        aids = frozenset(["attention"])
        own = Lessons(graph_of(student.module), "fc", CPU).lesson(0, 0, bench.images, keep=False, aids=aids).shown
        wanted = bench.lessons.lesson(0, 0, bench.images, keep=False, aids=aids).shown
        apart_by[weight] = float(apart("attention", own, wanted, Projections()))
    assert apart_by[5.0] < apart_by[0.0]


def test_students_with_other_aids_share_what_the_teacher_showed() -> None:
    bench = convolutional()
    batch = bench.images[:8]
    first = bench.lessons.lesson(0, 0, batch, keep=True, aids=frozenset(["relation"]))
    second = bench.lessons.lesson(0, 0, batch, keep=True, aids=frozenset(["attention"]))
    assert first.shown.relation.numel() and not first.shown.attention
    assert bench.lessons.lesson(0, 0, batch, keep=True, aids=frozenset(["relation"])) is second
    assert bench.lessons.lesson(0, 0, batch, keep=True) is second


def test_an_aid_that_a_teacher_cannot_give_is_refused() -> None:
    example = torch.zeros(1, 8)
    teacher = capture(nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)).eval(), example)
    Lessons(teacher, "2", CPU, offered=frozenset(["hidden", "relation"])).check_offered(example)
    with pytest.raises(UsageError, match=r"aids names 'attention', .*it can show: hidden, relation"):
        Lessons(teacher, "2", CPU, offered=ALL_AIDS).check_offered(example)
