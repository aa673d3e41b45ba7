"""Aids: what a teacher shows beside its outputs, and students that are taught by it."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nets
import pytest
import torch
import torch.nn.functional as F
from structures import Shuffled
from torch import Tensor, fx, nn
from torchvision import models

from autocompress.compression.aids import StudentAids, apart, show
from autocompress.compression.distill import Lessons
from autocompress.compression.edits import Parent
from autocompress.compression.places import Places, channel_dim, find_places, match_points, places_in
from autocompress.compression.projections import Projections, fitted
from autocompress.compression.recover import Recoverer, Stopped
from autocompress.compression.recovered import read_checkpoint
from autocompress.compression.schedule import Schedule
from autocompress.compression.student import Student, make_student
from autocompress.compression.taps import Tapped, mean_weights, read_taps, tapped
from autocompress.errors import UsageError
from autocompress.spaces.graph.capture import capture
from autocompress.spaces.graph.operator_rules import name_of
from autocompress.spaces.graph.resized import Resizing, find_resizing
from autocompress.spaces.network import look_at_network
from autocompress.spaces.spec import AIDS, Recovery, StudentSpec
from autocompress.studies.data.images import ImageData

CPU = torch.device("cpu")
Never: Callable[[], bool] = lambda: False  # noqa: E731
ALL_AIDS = frozenset(AIDS)


class Bench:
    """A captured teacher, 48 random images, and its students at half the width."""

    def __init__(self, make: Callable[[], nn.Module], size: int, last: str | None, aware: bool = False) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            plain = nets.shaken(make()).eval()
        images = torch.randn(48, 3, size, size, generator=torch.Generator().manual_seed(1))
        self.model = capture(plain, images[:1])
        network = look_at_network(self.model, images[:1])
        self.parent, layers = Parent(self.model, network.groups, network.blocks), network.layers
        self.images = images
        data = ImageData(images, torch.arange(48) % 5)
        self.lessons = Lessons(self.model, last, CPU)
        schedule = Schedule(3.0, (0.5, 1.0), batch_size=16)
        self.recoverer = Recoverer(data, self.lessons, schedule, CPU, contextlib.nullcontext)
        bits = {layer.name: 8 for layer in layers[1:-1]} if aware else {}
        recovery = Recovery(2.0, 0.5, 0.02, quantization_aware=aware)
        self.spec = StudentSpec({g.name: g.channels // 2 for g in network.groups}, bits, recovery=recovery)

    def with_weights(self, **weights: float) -> StudentSpec:
        assert self.spec.recovery is not None
        return replace(self.spec, recovery=replace(self.spec.recovery, **weights))

    def student(self, spec: StudentSpec | None = None) -> Student:
        return make_student(self.parent, spec or self.spec)


def vision_transformer() -> nn.Module:
    made = models.VisionTransformer(16, 4, num_layers=3, num_heads=4, hidden_dim=32, mlp_dim=64, num_classes=5)
    nn.init.normal_(made.heads.head.weight)  # zero in a new one
    return made


def convolutional(aware: bool = False) -> Bench:
    return Bench(nets.small_resnet, 32, "fc", aware)


def transformer() -> Bench:
    return Bench(vision_transformer, 16, "heads.head")


def graph_of(module: nn.Module) -> fx.GraphModule:
    assert isinstance(module, fx.GraphModule)
    return module


def same(a: nn.Module, b: nn.Module) -> bool:
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


ENDS = ["a", "b", "c", "d", "e", "f"]


@pytest.mark.parametrize(
    ("points", "left", "expected"),
    [
        (["b", "d", "f"], "abcdef", ("b", "d", "f")),
        (["b", "d", "f"], "acdef", ("a", "d", "f")),  # what the dropped block read stands for what it gave
        (["b", "d", "f"], "abef", (None, "b", "f")),  # one value for two points is for the later
        (["b", "d", "f"], "ef", (None, None, "f")),
        (["a"], "bcdef", (None,)),
        (["f"], "a", ("a",)),
        ([], "abc", ()),
    ],
)
def test_points_of_a_student_stand_for_those_of_its_teacher(
    points: list[str], left: str, expected: tuple[str | None, ...]
) -> None:
    assert match_points(ENDS, points, set(left)) == expected


@pytest.mark.parametrize("make", [convolutional, transformer])
def test_a_network_is_looked_into_at_ends_of_blocks_that_its_students_have_too(make: Callable[[], Bench]) -> None:
    bench = make()
    places = find_places(bench.model)
    assert 3 <= len(places.points) <= 4
    assert places_in(graph_of(bench.student().module), places) == places


def test_taps_change_nothing_and_share_all_that_is_trained() -> None:
    bench = transformer()
    module = graph_of(bench.student().module).train()
    with_taps = tapped(module, places_in(module, find_places(bench.model)))
    found = read_taps(with_taps(bench.images[:4]))
    assert torch.equal(found.outputs, module(bench.images[:4]))
    own = {id(p) for p in module.parameters()}
    assert {id(p) for p in with_taps.parameters()} <= own
    for weights in found.attentions:
        assert weights is not None
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))


@pytest.mark.parametrize("added", [False, True])
def test_queries_of_padding_have_weights_too(added: bool) -> None:
    query, key = torch.randn(2, 4, 3, 8, requires_grad=True), torch.randn(2, 4, 3, 8)
    mask = torch.tensor([[True, False, True], [False, False, False], [True, True, True]])
    given = torch.zeros(3, 3).masked_fill(~mask, -torch.inf) if added else mask
    found = mean_weights(query, key, key, given)
    expected = ((query @ key.mT) / 8**0.5).masked_fill(~mask, -torch.inf).softmax(-1).mean(1)
    torch.testing.assert_close(found[:, [0, 2]], expected[:, [0, 2]])
    found.square().sum().backward()
    assert query.grad is not None and bool(torch.isfinite(query.grad).all())


class ChannelsLast(nn.Module):
    """Like a ConvNeXt: a convolution between layers that have their channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm, self.mix = nn.Conv2d(3, 8, 2, 2), nn.LayerNorm(8), nn.Linear(8, 8)
        self.last, self.head = nn.Conv2d(8, 8, 3), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.stem(x).relu().permute(0, 2, 3, 1))
        x = (x + self.mix(x)).sigmoid()
        return self.head(self.last(x.permute(0, 3, 1, 2)).relu().mean((2, 3)))


def test_channels_are_found_where_the_nearest_layer_has_them() -> None:
    module = capture(ChannelsLast().eval(), torch.zeros(1, 3, 16, 16))
    found = {}
    for node in module.graph.nodes:
        found.setdefault(name_of(node) if node.op == "call_function" else node.target, channel_dim(module, node))
    assert {name for name in ("stem", "relu", "norm", "add", "sigmoid", "last") if found[name] == 1} == {
        "stem",
        "relu",
        "last",
    }


def test_channels_of_a_shuffle_are_those_of_its_branches() -> None:
    module = capture(Shuffled().eval(), torch.zeros(1, 3, 16, 16))
    (joined,) = (node for node in module.graph.nodes if node.op == "call_function" and name_of(node) == "cat")
    assert channel_dim(module, joined) == 1


def test_distances_are_the_published_formulas() -> None:
    torch.manual_seed(0)
    places = Places(("a",), (1,), (), ("a",))
    own, wanted = torch.randn(6, 4, 5, 5), torch.randn(6, 7, 5, 5)
    features = torch.randn(6, 4), torch.randn(6, 7)
    student = show(ALL_AIDS, places, Tapped(None, (own,), ()), features[0])
    teacher = show(ALL_AIDS, places, Tapped(None, (wanted,), ()), features[1])
    maps = [v.square().sum(1).flatten(1) for v in (own, wanted)]
    units = [m / m.norm(dim=1, keepdim=True) for m in maps]
    expected = (units[0] - units[1]).square().sum(1).mean()
    torch.testing.assert_close(apart("attention", student, teacher, Projections()), expected)
    cosines = [F.cosine_similarity(f[:, None], f[None], dim=-1) for f in features]
    expected = (cosines[0] - cosines[1]).square().mean() / cosines[1].square().mean()
    torch.testing.assert_close(apart("relation", student, teacher, Projections()), expected)
    attending = Places((), (), ("s",), ())
    rows = [torch.randn(6, 3, 3).softmax(-1) for _ in range(2)]
    shown = [show(ALL_AIDS, attending, Tapped(None, (), (r,)), features[0]) for r in rows]
    expected = (rows[1] * (rows[1] / rows[0]).log()).sum(-1).mean()
    torch.testing.assert_close(apart("attention", shown[0], shown[1], Projections()), expected)


def test_a_projection_begins_as_the_best_linear_map() -> None:
    torch.manual_seed(0)
    wide = torch.randn(500, 6) @ torch.randn(6, 6) + 3
    random = torch.random.get_rng_state()
    made = fitted(wide, wide[:, [4, 1]] * 2 - 1).requires_grad_(False)
    assert float((made(wide) - (wide[:, [4, 1]] * 2 - 1)).abs().max()) < 0.1
    assert torch.equal(torch.random.get_rng_state(), random), "the student's dropout draws as it did"
    assert bool(torch.isfinite(fitted(torch.zeros(3, 8), torch.zeros(3, 2)).weight).all()), "dead channels"


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
