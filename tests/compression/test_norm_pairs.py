"""Batch norms that cannot be folded into the layer before them stay where they are, and files answer right."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from exported import answers, assert_near
from torch import Tensor, nn

from autocompress.compression.export import make_template
from autocompress.compression.fuse import norm_pairs
from autocompress.spaces.graph.capture import capture


class OfTokens(nn.Module):
    """A norm with a number for each of five tokens, behind a linear layer that writes features."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.inner, self.norm, self.head = nn.Linear(4, features), nn.BatchNorm1d(5), nn.Linear(features, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.inner(x)).relu().mean(1))


class OfTwoLayers(nn.Module):
    """One norm behind two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 6), nn.Linear(6, 6)
        self.norm, self.head = nn.BatchNorm1d(6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.first(x.mean(1))).relu()
        return self.head(self.norm(self.second(x)).relu())


@pytest.mark.parametrize("make", [lambda: OfTokens(6), lambda: OfTokens(5), OfTwoLayers])
def test_what_is_no_norm_of_one_layer_is_left_alone(make: Callable[[], nn.Module]) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network, inputs = make().eval(), torch.randn(3, 5, 4)
        for norm in (part for part in network.modules() if isinstance(part, nn.BatchNorm1d)):
            for held in (norm.running_mean, norm.running_var, norm.weight.data):
                assert held is not None
                held.uniform_(0.5, 2.0)
    graph = capture(network, inputs[:1])
    assert not norm_pairs(graph, inputs[:1])
    with torch.no_grad():
        expected = network(inputs).numpy()
    assert_near(answers(make_template(graph, inputs, exact=True).write(graph), inputs), expected, 1e-4)


def test_a_norm_of_one_layer_is_folded() -> None:
    network = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3)).eval()
    assert norm_pairs(capture(network, torch.zeros(1, 4)), torch.zeros(2, 4)) == (("0", "1"),)
