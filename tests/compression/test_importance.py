"""Criteria: each puts the channels of a small network in the order that follows from its definition."""

from __future__ import annotations

from dataclasses import replace

import nets
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autocompress.compression.edits import Parent
from autocompress.compression.importance import COMPARED, rated
from autocompress.compression.student import make_student
from autocompress.errors import MeasurementError
from autocompress.spaces.graph.capture import capture
from autocompress.spaces.group import Group
from autocompress.spaces.network import look_at_network
from autocompress.spaces.spec import StudentSpec

LARGE, SPREAD, SCALED, DEAD = 0, 1, 2, 3
"""Channels of the toy: one large weight, several middling ones, a large scale of its norm, and one that is never on."""


class Toy(nn.Module):
    """Eight channels of which four stand out, each by another criterion."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2)
        with torch.no_grad():
            self.first.weight.copy_(0.1 * torch.ones(8, 4))
            self.first.weight[LARGE] = torch.tensor([3.0, 0.0, 0.0, 0.0])
            self.first.weight[SPREAD] = torch.tensor([1.4, 1.4, 1.4, 0.0])
            self.first.weight[DEAD] = 5.0
            self.first.bias.zero_()
            self.norm.weight.fill_(1.0)
            self.norm.weight[SCALED] = 7.0
            self.norm.bias[DEAD] = -1000.0
            self.last.weight.copy_(torch.tensor([[0.1] * 8, [-0.1] * 8]))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.last(F.relu(self.norm(self.first(x))))
        return found


def examples() -> tuple[Tensor, Tensor]:
    x = torch.randn(100, 4, generator=torch.Generator().manual_seed(0))
    return x, (x.sum(1) > 0).long()


@pytest.fixture(scope="module")
def teacher() -> nn.Module:
    return capture(Toy().eval(), torch.zeros(1, 4))


def importance(teacher: nn.Module, criterion: str, seed: int = 0) -> Tensor:
    (group,) = rated(teacher, found(teacher), criterion, examples, F.cross_entropy, seed)
    return group.importance


def found(teacher: nn.Module) -> tuple[Group, ...]:
    return look_at_network(teacher, torch.zeros(1, 4)).groups


def test_each_criterion_has_its_own_order(teacher: nn.Module) -> None:
    by = {criterion: importance(teacher, criterion) for criterion in COMPARED}
    assert by["l2"][LARGE] > by["l2"][SPREAD] and by["l1"][SPREAD] > by["l1"][LARGE]
    assert int(by["l1"].argmax()) == int(by["l2"].argmax()) == DEAD
    assert int(by["bn_scale"].argmax()) == SCALED
    assert float(by["taylor"][DEAD]) == 0.0 < float(by["taylor"].max()), "the loss does not change if it goes"
    keeps = {name: rated(teacher, found(teacher), name, examples, F.cross_entropy)[0].keep(7) for name in COMPARED}
    assert DEAD in keeps["l2"] and DEAD not in keeps["taylor"]


def test_l2_is_what_groups_are_found_with_and_the_network_is_not_changed(teacher: nn.Module) -> None:
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    first, last = teacher.get_parameter("first.weight"), teacher.get_parameter("last.weight")
    wanted = (first.square().sum(1) + last.square().sum(0)) / 2
    for criterion in ("l2", "taylor", "random"):
        values = importance(teacher, criterion)
        assert criterion != "l2" or torch.allclose(values, wanted.detach())
    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())
    assert all(parameter.grad is None for parameter in teacher.parameters()) and not teacher.training


def test_random_orders_differ_by_seed_and_come_again(teacher: nn.Module) -> None:
    orders = [importance(teacher, "random", seed).argsort().tolist() for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]


def test_a_loss_without_a_gradient_is_refused_in_one_line(teacher: nn.Module) -> None:
    def constant(outputs: Tensor, labels: Tensor) -> Tensor:
        return torch.tensor(0.5)

    with pytest.raises(MeasurementError, match="without a gradient; take another criterion"):
        rated(teacher, found(teacher), "taylor", examples, constant)


@pytest.mark.parametrize("criterion", [*COMPARED, "random"])
@pytest.mark.parametrize("name", nets.SMALL)
def test_any_network_is_rated_and_its_students_run(name: str, criterion: str) -> None:
    net = nets.net(name)
    labels = torch.arange(40) % 10

    def some() -> tuple[Tensor, Tensor]:
        return net.inputs(40), labels

    groups = rated(net.model, net.context.groups, criterion, some, F.cross_entropy)
    assert [replace(g, importance=torch.zeros(1)) for g in groups] == [
        replace(g, importance=torch.zeros(1)) for g in net.context.groups
    ]
    assert all(g.importance.shape == (g.channels,) and bool(g.importance.isfinite().all()) for g in groups)
    halves = {g.name: max(1, g.channels // 2 // g.blocks) * g.blocks for g in groups}
    with torch.no_grad():
        answers = make_student(Parent(net.model, groups), StudentSpec(halves)).module(net.inputs(2))
    assert answers.shape == net.model(net.inputs(2)).shape
