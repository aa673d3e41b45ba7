"""Students: what is removed is what matters least, and what stays is the teacher's."""

from __future__ import annotations

import nets
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autocompress.compression.student import make_student, mask_of
from autocompress.spaces.axes.channels import ChannelAxis
from autocompress.spaces.plan import Pattern, Plan

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


@pytest.mark.parametrize("name", nets.ALL)
def test_an_empty_plan_is_the_teacher(name: str) -> None:
    net = nets.net(name)
    student = make_student(net.model, net.ground.groups, Plan())
    assert not student.masks and not student.stayed_inputs
    with torch.no_grad():
        assert torch.equal(student.module.eval()(net.inputs(2)), net.model(net.inputs(2)))


@pytest.mark.parametrize("name", nets.ALL)
def test_making_a_student_leaves_the_teacher_alone(name: str) -> None:
    net = nets.net(name)
    before = {k: v.clone() for k, v in net.model.state_dict().items()}
    student = make_student(net.model, net.ground.groups, net.space.uniform(0.5, 32, None)).module
    for parameter in student.parameters():
        parameter.data.zero_()
    assert all(torch.equal(v, before[k]) for k, v in net.model.state_dict().items())


@pytest.mark.parametrize("name", nets.ALL)
def test_a_students_weights_are_some_of_the_teachers(name: str) -> None:
    net = nets.net(name)
    student = make_student(net.model, net.ground.groups, net.space.uniform(0.5, 32, None)).module
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
    for group, choices in ChannelAxis(net.ground).groups():
        count = choices[0]
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
    student = make_student(net.model, net.ground.groups, net.space.uniform(0.5, 32, None))
    for layer, stayed in student.stayed_inputs.items():
        module, old = student.module.get_submodule(layer), net.model.get_submodule(layer)
        inputs = module.weight.shape[1] * getattr(module, "groups", 1)
        assert len(stayed) == inputs
        if module.weight.shape[0] == old.weight.shape[0] and getattr(old, "groups", 1) == 1:
            assert torch.equal(module.weight, old.weight[:, list(stayed)])
