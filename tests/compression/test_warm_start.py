"""Warm start: a student starts from what its neighbour learned, and from the teacher where that has nothing."""

from __future__ import annotations

from dataclasses import replace

import nets
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from autocompress.compression.edits import Parent
from autocompress.compression.student import make_student
from autocompress.compression.warm_start import distance, warm_parent
from autocompress.errors import TrialFailed
from autocompress.spaces.groups import Group, find_groups
from autocompress.spaces.layers import find_layers
from autocompress.spaces.plan import Plan
from autocompress.spaces.spec import Pattern, StudentSpec

CHANGED = 1000.0
"""What stands for training: it adds this to every number, so that a number says whose it is."""


def recovered(net: nets.Net, spec: StudentSpec) -> dict[str, Tensor]:
    """The state of a student of this specification whose every number was changed."""
    student = net.student(spec)
    with torch.no_grad():
        for tensor in student.module.state_dict().values():
            tensor.add_(CHANGED if tensor.is_floating_point() else 5)
        student.hold_masks()
    return {name: tensor.clone() for name, tensor in student.module.state_dict().items()}


def random_spec(net: nets.Net, seed: int) -> StudentSpec:
    random = torch.Generator().manual_seed(seed)
    choices = [int(torch.randint(len(variable.options), (), generator=random)) for variable in net.space.network]
    return replace(net.space.spec(net.space.assemble(choices, Plan())), bits={})


@pytest.mark.parametrize("name", nets.ALL)
@given(seed=st.integers(0, 999))
@settings(max_examples=4)
def test_a_student_of_the_same_specification_is_the_neighbour(name: str, seed: int) -> None:
    net = nets.net(name)
    spec = random_spec(net, seed)
    neighbour = net.student(spec)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in neighbour.module.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
        neighbour.hold_masks()
    neighbour.module.train()(net.inputs(4))  # norms move, and count
    state = neighbour.module.eval().state_dict()
    taught = warm_parent(Parent(net.model, net.context.groups), spec, state)
    child = make_student(taught, spec)
    assert all(torch.equal(value, state[key]) for key, value in child.module.state_dict().items())
    for key, mask in child.masks.items():
        there = state[f"{key}.weight"] != 0  # of two zeros, one by chance, either may be the one that is masked
        assert torch.equal(mask[there], neighbour.masks[key][there]) and mask.sum() == neighbour.masks[key].sum()
    assert child.stayed_inputs == neighbour.stayed_inputs
    with torch.no_grad():
        assert torch.equal(child.module.eval()(net.inputs(3)), neighbour.module(net.inputs(3)))


@pytest.mark.parametrize("name", nets.ALL)
def test_channels_that_come_back_are_the_teachers(name: str) -> None:
    net = nets.net(name)
    groups, narrow = net.context.groups, net.spec(channels=0.5)
    state = recovered(net, narrow)
    taught = warm_parent(Parent(net.model, groups), narrow, state).module.state_dict()
    for key, old in net.model.state_dict().items():
        if not old.is_floating_point():
            assert int(taught[key]) == int(old) + 5, "counters are the neighbour's"
            continue
        of_neighbour = taught[key] == old + CHANGED
        assert bool((of_neighbour | (taught[key] == old)).all()), key
        assert int(of_neighbour.sum()) == state[key].numel(), key
        assert torch.equal(taught[key][of_neighbour], state[key].flatten()), key


@pytest.mark.parametrize("name", nets.ALL)
def test_a_wider_student_has_all_channels_of_its_neighbour(name: str) -> None:
    net = nets.net(name)
    groups, narrow = net.context.groups, net.spec(channels=0.25)
    state = recovered(net, narrow)
    child = make_student(warm_parent(Parent(net.model, groups), narrow, state), net.spec(channels=0.75)).module
    wider = 0
    for key, value in child.state_dict().items():
        if value.is_floating_point():
            own = value.flatten() > CHANGED / 2
            assert int(own.sum()) == state[key].numel(), key
            wider += value.numel() > state[key].numel()
    assert wider


@pytest.mark.parametrize("name", nets.ALL)
def test_a_warm_start_leaves_the_teacher_and_the_neighbour_alone(name: str) -> None:
    net = nets.net(name)
    spec = net.spec(channels=0.5)
    state = recovered(net, spec)
    before = {key: value.clone() for key, value in (*net.model.state_dict().items(), *state.items())}
    taught = warm_parent(Parent(net.model, net.context.groups), spec, state)
    for parameter in taught.module.parameters():
        parameter.data.zero_()
    assert all(torch.equal(value, before[key]) for key, value in state.items())
    teacher = net.model.state_dict()
    assert not any(torch.equal(value, teacher[key]) for key, value in taught.module.state_dict().items() if value.any())


def test_zeros_of_a_pattern_stay_where_a_dense_student_starts() -> None:
    net = nets.net("grouped")
    layer = net.context.layers[-1].name
    spec = StudentSpec(patterns={layer: Pattern("unstructured", 0.5)})
    taught = warm_parent(Parent(net.model, net.context.groups), spec, recovered(net, spec))
    child = make_student(taught, StudentSpec())
    weight = child.module.get_submodule(layer).weight
    assert not child.masks and int((weight == 0).sum()) == weight.numel() // 2


class TiedNet(nn.Module):
    """Two layers that share one weight, one of which loses inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 16, 3, padding=1), nn.Linear(16, 10)
        self.one, self.two = nn.Conv2d(16, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1)
        self.two.weight = self.one.weight

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.two(torch.relu(self.one(torch.relu(self.stem(x))))))
        return self.head(x.mean((2, 3)))


@pytest.mark.parametrize("names", [("stem",), ("stem", "one", "two"), ()])
def test_shared_weights_that_parted_in_the_neighbour_stay_apart(names: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    teacher, example = TiedNet().eval(), torch.randn(2, 3, 8, 8)
    layers = find_layers(teacher, example[:1])
    groups, _ = find_groups(teacher, example[:1], {layer.name: layer.depth for layer in layers})
    spec = StudentSpec({group.name: 8 for group in groups if group.name in names})
    neighbour = make_student(Parent(teacher, groups), spec).module
    with torch.no_grad():
        for number, parameter in enumerate(neighbour.parameters()):
            parameter.add_(0.1 * (number + 1))
    taught = warm_parent(Parent(teacher, groups), spec, neighbour.state_dict())
    child = make_student(taught, spec).module
    with torch.no_grad():
        assert torch.equal(child(example), neighbour(example))
    assert (taught.module.one.weight is taught.module.two.weight) == (neighbour.one.weight is neighbour.two.weight)


def test_weights_of_another_specification_are_refused() -> None:
    net = nets.net("digits")
    narrow, wide = net.spec(channels=0.5), net.spec(channels=0.75)
    state = recovered(net, narrow)
    with pytest.raises(TrialFailed, match=r"not those of its spec: .* has shape"):
        warm_parent(Parent(net.model, net.context.groups), wide, state)
    del state["conv1.weight"]
    with pytest.raises(TrialFailed, match=r"conv1\.weight is missing"):
        warm_parent(Parent(net.model, net.context.groups), narrow, state)


def groups_of(sizes: list[int]) -> list[Group]:
    members = nets.net("digits").context.groups[0].members
    return [Group(f"g{i}", 64, 1, 0.5, "inner", members[:size], torch.ones(64)) for i, size in enumerate(sizes)]


counts = st.lists(st.integers(1, 64), min_size=3, max_size=3)


@given(counts, counts, counts)
def test_distance_is_a_metric_on_shapes(a: list[int], b: list[int], c: list[int]) -> None:
    groups = groups_of([1, 2, 3])
    one, two, three = (StudentSpec({f"g{i}": n for i, n in enumerate(counted)}) for counted in (a, b, c))
    assert distance(one, one, groups) == 0 and (distance(one, two, groups) == 0) == (a == b)
    assert distance(one, two, groups) == distance(two, one, groups)
    assert distance(one, three, groups) <= distance(one, two, groups) + distance(two, three, groups) + 1e-12


def test_distance_counts_shapes_alone() -> None:
    groups = groups_of([1, 2, 3])
    half = StudentSpec({group.name: 32 for group in groups})
    assert distance(half, StudentSpec(), groups) == pytest.approx(0.6931, abs=1e-4)
    assert distance(half, replace(half, bits={"x": 8}, patterns={"x": Pattern("2:4", 0.5)}), groups) == 0
    assert distance(StudentSpec({"g2": 32}), StudentSpec(), groups) > distance(
        StudentSpec({"g0": 32}), StudentSpec(), groups
    )
    assert distance(StudentSpec(), StudentSpec(), []) == 0
