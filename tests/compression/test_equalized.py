"""Equalization: a network answers the same, and its channels share the grid of 8 bits evenly."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from autocompress.compression.equalized import Pair, equalize, pairs_of
from autocompress.compression.fake_quant import FakeQuantizer
from autocompress.spaces.graph.capture import capture

INPUTS = torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(1))
OTHERS = torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(2))


class Net(nn.Module):
    """Pairs of every kind, and layers that stand in none: read twice, behind a ReLU6, behind no activation."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12)
        self.depthwise, self.point = nn.Conv2d(12, 12, 3, padding=1, groups=12), nn.Conv2d(12, 8, 1)
        self.left, self.right, self.clipped = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)
        self.relu, self.relu6 = nn.ReLU(), nn.ReLU6()
        self.first, self.head = nn.Linear(8, 16), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm(self.stem(x)))
        x = self.point(torch.relu(self.depthwise(x))).relu()
        x = self.clipped(self.relu6(self.left(x) + self.right(x)))
        return self.head(self.first(x.mean((2, 3))).relu())


def net() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = Net().eval()
        made.norm.weight.data.copy_(torch.logspace(-1, 0.7, 12))  # channels that reach very different values
    return capture(made, INPUTS[:1])


ALL = ("stem", "depthwise", "point", "left", "right", "clipped", "first", "head")


def test_pairs_have_one_relu_between_them_and_nobody_else() -> None:
    assert pairs_of(net()) == (
        Pair("stem", "norm", "depthwise"),
        Pair("depthwise", None, "point"),
        Pair("first", None, "head"),
    )
    assert pairs_of(Net()) == (), "a module is no graph"


def test_it_answers_the_same_and_loses_less() -> None:
    first, bits = net(), dict.fromkeys(ALL, 8)
    state = {name: value.clone() for name, value in first.state_dict().items()}
    other = equalize(first, bits, INPUTS)
    assert other is not None
    assert all(torch.equal(value, state[name]) for name, value in first.state_dict().items())
    with torch.no_grad():
        wanted = first(OTHERS)
        torch.testing.assert_close(other(OTHERS), wanted, rtol=1e-4, atol=1e-5)
        off = []
        for module in (first, other):
            quantized = copy.deepcopy(module)
            fake = FakeQuantizer(quantized, bits)
            fake.switch_on()
            off.append(float((quantized(OTHERS) - wanted).square().mean()))
    assert off[1] < 0.7 * off[0]


def test_inputs_of_a_depthwise_layer_reach_as_far_in_each_channel() -> None:
    other = equalize(net(), {"depthwise": 8}, INPUTS)
    assert other is not None
    reached: list[Tensor] = []
    other.get_submodule("depthwise").register_forward_pre_hook(
        lambda module, given: reached.append(given[0].movedim(1, 0).flatten(1).amax(1))
    )
    other(INPUTS)
    torch.testing.assert_close(reached[0], reached[0].max().expand(12), rtol=1e-4, atol=1e-5)


def test_nothing_to_scale_is_nothing_to_build() -> None:
    assert equalize(net(), {"stem": 8, "depthwise": 4}, INPUTS) is None
    assert equalize(Net().eval(), {"depthwise": 8}, INPUTS) is None


def test_a_channel_that_is_silent_stays_as_it_is() -> None:
    silent = net()
    silent.get_submodule("norm").weight.data[3] = 0.0
    silent.get_submodule("norm").bias.data[3] = -1.0
    other = equalize(silent, {"depthwise": 8}, INPUTS)
    assert other is not None
    with torch.no_grad():
        torch.testing.assert_close(other(OTHERS), silent(OTHERS), rtol=1e-4, atol=1e-5)
    assert all(bool(torch.isfinite(value).all()) for value in other.state_dict().values())


class ReadsPositions(nn.Module):
    """A linear layer that reads the positions behind a convolution, of which there are as many as channels."""

    def __init__(self) -> None:
        super().__init__()
        self.channels, self.positions = nn.Conv1d(4, 6, 1), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.positions(torch.relu(self.channels(x))).mean(1)


def test_channels_and_positions_are_told_apart() -> None:
    assert pairs_of(capture(ReadsPositions().eval(), torch.randn(1, 4, 6))) == ()
