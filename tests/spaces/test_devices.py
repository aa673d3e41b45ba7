"""A captured network moves to another device wholly, with the tensors that its graph makes by itself."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, fx, nn

from autocompress.compression.precision import module_to_training_layout
from autocompress.spaces.graph.capture import capture
from autocompress.spaces.graph.devices import moved


class Positions(nn.Module):
    """Attention with a mask, positions, a constant, a list of numbers, and a buffer, each made in its own way."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(20, 8), nn.Embedding(16, 8)
        self.ask, self.last = nn.Linear(8, 8), nn.Linear(8, 3)
        self.register_buffer("slope", torch.linspace(0, 1, 16))
        self.constant = torch.tensor([0.5, 2.0] * 4)  # no buffer: `nn.Module.to` leaves it where it is

    def forward(self, tokens: Tensor) -> Tensor:
        length = tokens.shape[1]
        x = self.words(tokens) + self.places(torch.arange(length, device=tokens.device))
        x = x * self.constant + torch.tensor([1.0] * 8) + self.slope[:length, None]
        mask = torch.ones(length, length, dtype=torch.bool, device=tokens.device).tril()
        bias = torch.zeros(length, length).masked_fill(mask.logical_not(), float("-inf"))
        asked = self.ask(x) @ x.transpose(1, 2) + bias.to(x.device)
        attended = torch.softmax(asked, -1) @ x
        return self.last((attended + torch.full((1, 8), 0.1, device=x.device)).mean(1))


@pytest.fixture(scope="module")
def graph() -> fx.GraphModule:
    return capture(Positions().eval(), torch.zeros(1, 16, dtype=torch.long))


def test_nothing_is_left_behind(graph: fx.GraphModule) -> None:
    """Tensors of the device "meta" have no values, and refuse to meet those of another one."""
    tokens = torch.zeros(4, 16, dtype=torch.long, device="meta")
    with pytest.raises(RuntimeError):
        copy.deepcopy(graph).to("meta")(tokens)
    for there in (moved(copy.deepcopy(graph), "meta"), module_to_training_layout(copy.deepcopy(graph), tokens.device)):
        assert there(tokens).device.type == "meta"
    within = moved(nn.Sequential(copy.deepcopy(graph), nn.ReLU()), "meta")
    assert within(tokens).shape == (4, 3)


def test_it_stays_what_it_is(graph: fx.GraphModule) -> None:
    tokens = torch.randint(20, (4, 16), generator=torch.Generator().manual_seed(0))
    assert torch.equal(moved(copy.deepcopy(graph), "cpu")(tokens), graph(tokens))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
def test_it_goes_to_a_gpu_and_comes_back(graph: fx.GraphModule) -> None:
    tokens = torch.randint(20, (4, 16), generator=torch.Generator().manual_seed(0))
    there = moved(copy.deepcopy(graph), "cuda")
    torch.testing.assert_close(there(tokens.cuda()).cpu(), graph(tokens), rtol=1e-3, atol=1e-3)
    assert torch.equal(moved(there, "cpu")(tokens), graph(tokens))


class Reads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.memory, self.head = nn.LSTM(4, 6, 2, batch_first=True, dropout=0.5), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.memory(x)[0][:, -1])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
def test_recurrent_layers_learn_on_a_gpu() -> None:
    inputs = torch.randn(4, 5, 4, generator=torch.Generator().manual_seed(0))
    here = capture(Reads().eval(), inputs[:1])
    there = moved(copy.deepcopy(here), "cuda")
    for graph, given in ((here, inputs), (there, inputs.cuda())):
        graph(given).square().sum().backward()
    for parameter, other in zip(here.parameters(), there.parameters(), strict=True):
        assert parameter.grad is not None and other.grad is not None
        torch.testing.assert_close(other.grad.cpu(), parameter.grad, rtol=1e-2, atol=1e-3)
    with torch.no_grad():
        torch.testing.assert_close(moved(there, "cpu")(inputs), here(inputs))
