"""Networks as people write them become graphs: they may change their inputs, and call their parts what they like."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autocompress.spaces.graph.capture import capture
from autocompress.spaces.graph.interface import Interface
from autocompress.spaces.network import look_at_network


class Normalizes(nn.Module):
    """Changes its input in place, in one of several ways, before it looks at it."""

    def __init__(self, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.change, self.inner, self.head = change, nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.inner(self.change(x)).relu())


def shifted(x: Tensor) -> Tensor:
    x -= 0.5
    x /= 2.0
    return x


def in_a_part(x: Tensor) -> Tensor:
    x[:, 0] = 0.0
    return x


def through_a_view(x: Tensor) -> Tensor:
    x.view(-1, 2, 3).clamp_(0.0, 1.0)
    return x


def behind_dropout(x: Tensor) -> Tensor:
    return F.dropout(x, 0.5, training=False).mul_(3.0)


@pytest.mark.parametrize("change", [shifted, in_a_part, through_a_view, behind_dropout, nn.ReLU(inplace=True)])
def test_a_graph_leaves_its_inputs_as_they_are(change: Callable[[Tensor], Tensor]) -> None:
    model, inputs = Normalizes(change).eval(), torch.randn(4, 6)
    expected, kept = model(inputs.clone()), inputs.clone()
    graph = capture(model, inputs[:1].clone())
    for _ in range(2):
        torch.testing.assert_close(graph(inputs), expected)
    assert torch.equal(inputs, kept)
    assert {group.channels for group in look_at_network(graph, inputs[:1]).groups} == {8}
    assert torch.equal(inputs, kept)


def test_only_the_inputs_that_are_changed_are_copied() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(6, 3)

        def forward(self, left: Tensor, right: Tensor) -> Tensor:
            return self.head(left.mul_(2) + right)

    inputs = torch.randn(4, 6), torch.randn(4, 6)
    graph = capture(Both().eval(), (inputs[0][:1], inputs[1][:1]), Interface(("left", "right")))
    first, kept = graph(*inputs), inputs[0].clone()
    assert torch.equal(graph(*inputs), first) and torch.equal(inputs[0], kept)
    copied = [node.args[0] for node in graph.graph.nodes if "clone" in str(node.target)]
    assert [str(node) for node in copied] == ["left"]


def test_a_graph_leaves_its_buffers_as_they_are() -> None:
    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(6, 3)
            self.register_buffer("calls", torch.zeros(1, dtype=torch.long))
            self.register_buffer("scratch", torch.zeros(6))

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            self.scratch.zero_().add_(0.5)
            return self.head(x + self.scratch)

    model, inputs = Counts().eval(), torch.randn(4, 6)
    expected = model(inputs)
    graph = capture(model, inputs[:1])
    kept = {name: value.clone() for name, value in graph.state_dict().items()}
    for _ in range(2):
        torch.testing.assert_close(graph(inputs), expected)
    assert all(torch.equal(value, kept[name]) for name, value in graph.state_dict().items())


class Columns(nn.Module):
    """A table's columns and what is known beside it, under names that graphs or Python have for something else."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = nn.ModuleDict({name: nn.Embedding(5, 4) for name in ("class", "from", "age")})
        self.meta = nn.Sequential(nn.Linear(2, 8), nn.ReLU())
        self.meta_, self.graph = nn.Linear(8, 4), nn.Linear(12, 16)
        self.code = nn.Parameter(torch.randn(16))
        self.head = nn.Linear(20, 3)

    def forward(self, kinds: Tensor, beside: Tensor) -> Tensor:
        found = torch.cat([self.tables[name](kinds[:, i]) for i, name in enumerate(("class", "from", "age"))], 1)
        return self.head(torch.cat([self.graph(found).relu() * self.code, self.meta_(self.meta(beside))], 1))


def test_parts_may_be_called_anything() -> None:
    torch.manual_seed(0)
    model, inputs = Columns().eval(), (torch.randint(5, (4, 3)), torch.randn(4, 2))
    graph = capture(model, (inputs[0][:1], inputs[1][:1]), Interface(("kinds", "beside")))
    torch.testing.assert_close(graph(*inputs), model(*inputs))
    names = {layer.name for layer in look_at_network(graph, (inputs[0][:1], inputs[1][:1])).layers}
    assert names == {"graph_", "meta__.0", "meta_", "head"}, "a name that can stay does"
    assert {"tables.class_", "tables.from_", "tables.age"} <= set(dict(graph.named_modules()))
