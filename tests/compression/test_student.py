"""Students: what is removed is what matters least, and what stays is the teacher's."""

from __future__ import annotations

from dataclasses import replace

import nets
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from autocompress.compression.edits import Parent, replaced
from autocompress.compression.masks import mask_of
from autocompress.compression.student import make_student, renew
from autocompress.errors import TrialFailed
from autocompress.spaces.spec import Pattern, Recovery, StudentSpec

shapes = st.tuples(st.integers(1, 5), st.integers(1, 13)) | st.tuples(
    st.integers(1, 4), st.integers(1, 9), st.integers(1, 3), st.integers(1, 3)
)


def weights(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@given(shapes, st.floats(0.0, 0.99), st.integers(0, 1000))
def test_unstructured_zeros_are_as_many_as_asked_and_the_smallest(
    shape: tuple[int, ...], rate: float, seed: int
) -> None:
    weight = weights(shape, seed)
    mask = mask_of(weight, Pattern("unstructured", rate))
    assert mask.shape == weight.shape and set(mask.unique().tolist()) <= {0.0, 1.0}
    assert int((mask == 0).sum()) == int(rate * weight.numel())
    dropped, kept = weight[mask == 0].abs(), weight[mask == 1].abs()
    assert not len(dropped) or dropped.max() <= kept.min()


@given(shapes, st.integers(0, 1000))
def test_two_of_every_four_inputs_are_zero_and_the_larger_two_stay(shape: tuple[int, ...], seed: int) -> None:
    weight = weights(shape, seed)
    mask = mask_of(weight, Pattern("2:4", 0.5))
    full = shape[1] // 4 * 4
    rows, sizes_of = (t.movedim(1, -1).reshape(-1, shape[1]) for t in (mask, weight.abs()))
    for row, sizes in zip(rows, sizes_of, strict=True):
        assert bool((row[full:] == 1).all()), "inputs beyond the last full four stay"
        for start in range(0, full, 4):
            four, size = row[start : start + 4], sizes[start : start + 4]
            assert int(four.sum()) == 2
            assert size[four == 0].max() <= size[four == 1].min()


@given(shapes, st.integers(0, 1000))
def test_equal_weights_still_give_exactly_two_of_four(shape: tuple[int, ...], seed: int) -> None:
    mask = mask_of(torch.zeros(shape), Pattern("2:4", 0.5))
    assert int((mask == 0).sum()) == mask.numel() // shape[1] * (shape[1] // 4) * 2


@given(shapes, st.floats(0.0, 0.99), st.integers(0, 1000))
def test_blocks_of_four_outputs_go_together_and_the_smallest_go(shape: tuple[int, ...], rate: float, seed: int) -> None:
    weight = weights(shape, seed)
    mask = mask_of(weight, Pattern("block:4x1", rate))
    full = shape[0] // 4 * 4
    assert mask.shape == weight.shape and bool((mask[full:] == 1).all()), "outputs beyond the last full four stay"
    blocks = mask[:full].reshape(full // 4, 4, *shape[1:])
    assert torch.equal(blocks.amin(1), blocks.amax(1))
    size, kept = weight[:full].abs().reshape(full // 4, 4, *shape[1:]).sum(1), blocks.amin(1)
    assert int((kept == 0).sum()) == int(rate * kept.numel())
    assert bool((kept == 1).all()) or size[kept == 0].max() <= size[kept == 1].min()


@pytest.mark.parametrize("name", nets.ALL)
def test_an_empty_specification_is_the_teacher(name: str) -> None:
    net = nets.net(name)
    student = make_student(Parent(net.model, net.context.groups), StudentSpec())
    assert not student.masks and not student.stayed_inputs
    with torch.no_grad():
        assert torch.equal(student.module.eval()(net.inputs(2)), net.model(net.inputs(2)))


@pytest.mark.parametrize("name", nets.ALL)
def test_making_a_student_leaves_the_teacher_alone(name: str) -> None:
    net = nets.net(name)
    before = {k: v.clone() for k, v in net.model.state_dict().items()}
    student = net.student(net.spec(channels=0.5)).module
    for parameter in student.parameters():
        parameter.data.zero_()
    assert all(torch.equal(v, before[k]) for k, v in net.model.state_dict().items())


@pytest.mark.parametrize("name", nets.ALL)
def test_a_students_weights_are_some_of_the_teachers(name: str) -> None:
    net = nets.net(name)
    student = net.student(net.spec(channels=0.5)).module
    teacher = net.model.state_dict()
    smaller = 0
    for key, value in student.state_dict().items():
        if value.is_floating_point():
            assert set(value.flatten().tolist()) <= set(teacher[key].flatten().tolist()), key
        smaller += value.numel() < teacher[key].numel()
    assert smaller, "nothing was removed"


@pytest.mark.parametrize("name", nets.ALL)
def test_the_least_important_channels_go(name: str) -> None:
    net = nets.net(name)
    groups = {group.name: group for group in net.context.groups}
    for variable in net.space.of("channels"):
        group, count = groups[variable.subject], variable.options[-1]
        kept = group.keep(count)
        assert len(kept) == count == len(set(kept)) and kept == sorted(kept)
        per_block = group.channels // group.blocks
        for block in range(group.blocks):
            members = set(range(block * per_block, (block + 1) * per_block))
            stays = [group.importance[i] for i in members & set(kept)]
            goes = [group.importance[i] for i in members - set(kept)]
            assert len(stays) == count // group.blocks and (not goes or max(goes) <= min(stays))


def test_a_channel_of_zeros_is_the_first_to_go() -> None:
    from autocompress.spaces.groups import find_groups
    from autocompress.spaces.layers import find_layers

    model = nets.grouped_net().eval()
    dead = [3, 17, 30]
    with torch.no_grad():
        model[6].weight[dead] = 0
        model[9].weight[:, dead] = 0
    layers = find_layers(model, torch.zeros(1, 3, 16, 16))
    groups, _ = find_groups(model, torch.zeros(1, 3, 16, 16), {x.name: x.depth for x in layers})
    group = next(g for g in groups if g.name == "6")
    assert not set(group.keep(24)) & set(dead)


@pytest.mark.parametrize("name", nets.ALL)
def test_inputs_that_stayed_are_those_of_the_channels_that_stayed(name: str) -> None:
    net = nets.net(name)
    student = net.student(net.spec(channels=0.5))
    for layer, stayed in student.stayed_inputs.items():
        module, old = student.module.get_submodule(layer), net.model.get_submodule(layer)
        inputs = module.weight.shape[1] * getattr(module, "groups", 1)
        assert len(stayed) == inputs
        if module.weight.shape[0] == old.weight.shape[0] and getattr(old, "groups", 1) == 1:
            assert torch.equal(module.weight, old.weight[:, list(stayed)])


def test_modules_are_replaced_in_a_copy_and_the_rest_is_the_teachers() -> None:
    net = nets.net("grouped")
    student = net.student(StudentSpec(replacements={"2": "Hardswish", "5": "Identity"})).module.eval()
    assert isinstance(student.get_submodule("2"), nn.Hardswish)
    assert isinstance(student.get_submodule("5"), nn.Identity)
    assert all(isinstance(net.model.get_submodule(name), nn.ReLU) for name in ("2", "5"))
    assert all(torch.equal(v, net.model.state_dict()[k]) for k, v in student.state_dict().items())
    expected = net.inputs(2)
    with torch.no_grad():
        student.get_submodule("2").forward = net.model.get_submodule("2").forward  # type: ignore[method-assign]
        student.get_submodule("5").forward = net.model.get_submodule("5").forward  # type: ignore[method-assign]
        assert torch.equal(student(expected), net.model(expected)), "the two are all that differs"


@pytest.mark.parametrize("training", [False, True])
def test_a_module_that_comes_in_has_the_mode_of_the_network(training: bool) -> None:
    teacher = nn.Sequential(nn.Linear(3, 3), nn.ReLU()).train(training)
    assert replaced(teacher, {"1": "SiLU"})[1].training == training


def test_modules_are_replaced_before_channels_go() -> None:
    net = nets.net("grouped")
    spec = replace(net.spec(channels=0.5), replacements={"2": "SiLU"})
    student = net.student(spec)
    assert isinstance(student.module.get_submodule("2"), nn.SiLU)
    assert student.module.get_submodule("0").out_channels < 32
    assert student.module.eval()(net.inputs(2)).shape == (2, 10)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("NoSuchThing", "module 2 cannot be replaced: torch.nn has no class 'NoSuchThing'"),
        ("functional", "torch.nn has no class 'functional'"),
        ("Parameter", "torch.nn has no class 'Parameter'"),
        ("Linear", "module 2 cannot be replaced: torch.nn.Linear needs arguments"),
    ],
)
def test_what_cannot_come_in_is_refused_in_one_line(kind: str, message: str) -> None:
    with pytest.raises(TrialFailed, match=message) as caught:
        nets.net("grouped").student(StudentSpec(replacements={"2": kind}))
    assert "\n" not in str(caught.value)


class Scaled(nn.Module):
    """A module of a user's own, which says nothing of how its weights begin."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(3 + 2 * torch.randn(40, 50))
        self.scale = nn.Parameter(torch.tensor(2.0))


def test_a_student_with_new_weights_has_none_of_the_teachers() -> None:
    teacher = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.LazyLinear(4))
    teacher(torch.randn(2, 3, 6, 6))
    spec = StudentSpec(recovery=Recovery(fresh=True))
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    student, again = make_student(Parent(teacher), spec), make_student(Parent(teacher), spec)
    for name, value in student.module.state_dict().items():
        assert torch.equal(value, again.module.state_dict()[name]), "the same seed gives the same weights"
        if name.endswith("weight") and value.ndim > 1:
            assert not torch.equal(value, before[name]), name
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    kept = make_student(Parent(teacher), replace(spec, recovery=Recovery()))
    assert all(torch.equal(value, before[name]) for name, value in kept.module.state_dict().items())


def test_a_student_with_new_weights_has_the_pattern_of_the_trained_ones() -> None:
    teacher = nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 4))
    spec = StudentSpec(patterns={"0": Pattern("unstructured", 0.75)}, recovery=Recovery(fresh=True))
    student = make_student(Parent(teacher), spec)
    wanted = mask_of(teacher[0].weight.detach(), spec.patterns["0"])
    assert torch.equal(student.masks["0"], wanted)
    assert torch.equal(student.module[0].weight != 0, wanted.bool()), "where the smallest of the trained weights are"


def test_weights_of_modules_without_a_way_of_their_own_are_drawn_like_those_they_had() -> None:
    module = Scaled()
    before = module.table.detach().clone()
    renew(module)
    assert not torch.equal(module.table, before)
    assert abs(float(module.table.mean()) - 3) < 0.3 and abs(float(module.table.std()) - 2) < 0.3
    assert float(module.scale.detach()) == 2.0


def test_keys_of_students_that_begin_with_the_teachers_weights_are_those_of_before() -> None:
    spec = StudentSpec({"a": 3}, recovery=Recovery(alpha=0.5))
    assert "fresh" not in spec.to_json()
    fresh = replace(spec, recovery=Recovery(alpha=0.5, fresh=True))
    assert "fresh" in fresh.to_json() and fresh.training_key() != spec.training_key()
