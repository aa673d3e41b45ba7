"""Bias correction: mean outputs of quantized layers are those of the float network again."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from autocompress.compression.corrected import correct_biases
from autocompress.compression.fake_quant import FakeQuantizer
from autocompress.studies.models import cifar_resnet

INPUTS = torch.randn(48, 3, 8, 8, generator=torch.Generator().manual_seed(1)) + 0.5


class Net(nn.Module):
    """A layer with a norm behind it, one with a bias, one with neither, and one that runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.normed, self.norm = nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8)
        self.biased, self.bare = nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 1, bias=False)
        self.twice, self.head = nn.Conv2d(8, 8, 1), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.normed(x)).relu()
        x = self.bare(self.biased(x).relu())
        x = self.twice(self.twice(x).relu())
        return self.head(x.mean((2, 3)))


def net() -> Net:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Net().eval()


def channel_means(module: nn.Module, name: str, bits: dict[str, int]) -> Tensor:
    """Of what comes out of a module of a network with bits."""
    found: list[Tensor] = []
    handle = module.get_submodule(name).register_forward_hook(lambda m, i, o: found.append(o.movedim(1, 0).flatten(1)))
    fake = FakeQuantizer(module, bits)
    fake.switch_on()
    with torch.no_grad():
        module(INPUTS)
    fake.switch_off()
    handle.remove()
    return found[0].mean(1)


@pytest.mark.parametrize("width", [4, 8])
def test_the_mean_of_each_channel_is_that_of_the_float_network(width: int) -> None:
    first = net()
    bits = dict.fromkeys(("normed", "biased", "head"), width)
    corrected = correct_biases(first, bits, INPUTS)
    for name in ("norm", "biased", "head"):
        wanted = channel_means(copy.deepcopy(first), name, {})
        before = float((channel_means(copy.deepcopy(first), name, bits) - wanted).abs().max())
        after = float((channel_means(copy.deepcopy(corrected), name, bits) - wanted).abs().max())
        assert after < 1e-5 < before, name


def test_nothing_else_of_a_network_changes() -> None:
    first = net()
    state = {name: value.clone() for name, value in first.state_dict().items()}
    bits = dict.fromkeys(("normed", "biased", "bare", "twice"), 8)
    corrected = correct_biases(first, bits, INPUTS)
    assert all(torch.equal(value, state[name]) for name, value in first.state_dict().items())
    changed = {name for name, value in corrected.state_dict().items() if not torch.equal(value, state[name])}
    assert changed == {"norm.running_mean", "biased.bias"}
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in corrected.modules())


def test_a_network_in_four_bits_answers_more_like_itself() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        first = cifar_resnet(8, width=8, channels=3).eval()
    bits = {name: 4 for name, m in first.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    others = torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(2)) + 0.5
    with torch.no_grad():
        wanted = first(others)
        off = []
        for module in (first, correct_biases(first, bits, INPUTS)):
            fake = FakeQuantizer(module, bits)
            fake.switch_on()
            off.append(float((module(others) - wanted).square().mean()))
            fake.switch_off()
    assert off[1] < off[0]


class Words(nn.Module):
    """An embedding, and two layers with one bias."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.first, self.second = nn.Embedding(30, 16), nn.Linear(16, 16), nn.Linear(16, 16)
        self.second.bias, self.head = self.first.bias, nn.Linear(16, 5)

    def forward(self, words: Tensor) -> Tensor:
        return self.head(self.second(self.first(self.words(words)).relu()).relu())


def test_embeddings_and_biases_that_layers_share_are_left_alone() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        first = Words().eval()
    words = torch.randint(0, 30, (48, 6), generator=torch.Generator().manual_seed(0))
    bits = dict.fromkeys(("words", "first", "second", "head"), 4)
    corrected = correct_biases(first, bits, words)
    state = first.state_dict()
    changed = {name for name, value in corrected.state_dict().items() if not torch.equal(value, state[name])}
    assert changed == {"head.bias"}
