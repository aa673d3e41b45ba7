"""A captured network leaves the inputs that it is given as they are, whatever its own code does to them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from autocompress.spaces.graph.capture import capture


class Normalises(nn.Module):
    """A network that scales its inputs where they lie, one of two, or a view of them."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.first, self.act, self.head = how, nn.Linear(8, 8), nn.ReLU(inplace=True), nn.Linear(8, 3)

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        if self.how == "itself":
            x -= 0.5
        elif self.how == "a view":
            x.view(-1, 8).mul_(2.0)
        elif self.how == "a part":
            x[:, :4] = 0.0
        elif self.how == "by a module":
            x = self.act(x)
        elif other is not None:
            other.add_(x).div_(3.0)
            x = x + other
        return self.head(torch.relu_(self.first(x)))


@pytest.mark.parametrize("how", ["itself", "a view", "a part", "by a module", "one of two"])
def test_a_batch_stays_as_it_came_and_is_answered_as_ever(how: str) -> None:
    torch.manual_seed(0)
    network = Normalises(how).eval()
    count = 2 if how == "one of two" else 1
    example = tuple(torch.randn(1, 8) for _ in range(count))
    given = example if count > 1 else example[0]
    seen = [part.clone() for part in example]
    graph = capture(network, given)
    assert all(torch.equal(part, before) for part, before in zip(example, seen, strict=True))
    batch = [torch.randn(5, 8) for _ in range(count)]
    before = [part.clone() for part in batch]
    with torch.no_grad():
        first, again = graph(*batch), graph(*batch)
        expected = network(*(part.clone() for part in before))
    assert all(torch.equal(part, was) for part, was in zip(batch, before, strict=True))
    assert torch.equal(first, again)
    torch.testing.assert_close(first, expected)


def test_a_network_that_changes_none_of_its_inputs_copies_none() -> None:
    network = nn.Sequential(nn.Linear(8, 8), nn.ReLU(inplace=True), nn.Linear(8, 3)).eval()
    assert not [node for node in capture(network, torch.randn(1, 8)).graph.nodes if "clone" in str(node.target)]
