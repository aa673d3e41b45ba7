"""Fake quantization of recurrent layers: they compute as their files will, and as before once it is off."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn

from autocompress.compression.edits import Parent
from autocompress.compression.fake_quant import FakeQuantizer, fake_quantized_weight
from autocompress.compression.kl_meter import KLMeter
from autocompress.compression.losses import categorical_divergence
from autocompress.compression.places import find_places
from autocompress.compression.student import make_student
from autocompress.compression.taps import read_taps, tapped
from autocompress.spaces.graph.capture import capture
from autocompress.spaces.network import look_at_network
from autocompress.spaces.sensitivity import Question
from autocompress.spaces.spec import StudentSpec


class Reader(nn.Module):
    """A sequence [N, T, 6], read by recurrent layers, and what is made of its last step."""

    def __init__(self, kind: str, layers: int = 1, both_ways: bool = False) -> None:
        super().__init__()
        self.steps = nn.Linear(6, 8)
        self.memory = getattr(nn, kind)(8, 10, layers, batch_first=True, bidirectional=both_ways)
        self.head = nn.Linear(10 * (1 + both_ways), 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.memory(self.steps(x).relu())[0][:, -1])


INPUTS = torch.randn(12, 7, 6, generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exact arithmetic wherever the tests run."""
    monkeypatch.setattr("autocompress.compression.precision._cpu_has_fast_bf16", lambda: False)


def made(kind: str, layers: int = 1, both_ways: bool = False) -> tuple[Reader, fx.GraphModule]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = Reader(kind, layers, both_ways).eval()
    for parameter in net.parameters():
        parameter.data.mul_(2)
    return net, capture(net, INPUTS[:1])


def rounded(values: Tensor) -> Tensor:
    low, high = values.min().clamp(max=0), values.max().clamp(min=0)
    scale = (high - low) / 255
    zero = (-low / scale).round()
    return (((values / scale).round() + zero).clamp(0, 255) - zero) * scale


@torch.no_grad()
def by_hand(net: Reader, way: str) -> Tensor:
    """What the network answers with rounded weights, layer by layer where they round what they read."""
    memory: Any = copy.deepcopy(net.memory)
    for name, weight in memory.named_parameters():
        if "weight" in name:
            weight.copy_(fake_quantized_weight(weight, 8))
    read = net.steps(INPUTS).relu()
    if way == "float":
        return net.head(memory(read)[0][:, -1])
    for number in range(memory.num_layers):
        one = type(memory)(read.shape[-1], 10, batch_first=True, bidirectional=memory.bidirectional)
        own = {name: value for name, value in memory.named_parameters() if f"_l{number}" in name}
        one.load_state_dict({name.replace(f"_l{number}", "_l0"): value for name, value in own.items()})
        read = one(rounded(read))[0]
    return net.head(read[:, -1])


@pytest.mark.parametrize("way", ["dynamic", "float"])
@pytest.mark.parametrize(("kind", "layers", "both_ways"), [("LSTM", 1, False), ("LSTM", 2, True), ("GRU", 2, False)])
def test_weights_and_what_is_read_are_rounded(kind: str, layers: int, both_ways: bool, way: str) -> None:
    net, graph = made(kind, layers, both_ways)
    with torch.no_grad():
        plain = graph(INPUTS)
        fake = FakeQuantizer(graph, {"memory": 8}, activations={"memory": way})
        assert fake.quantizes
        fake.switch_on()
        got = graph(INPUTS)
        fake.switch_off()
        torch.testing.assert_close(got, by_hand(net, way), atol=1e-5, rtol=1e-4)
        assert (got - plain).abs().max() > 1e-4
        assert torch.equal(graph(INPUTS), plain), "switched off it computes as before"


def test_gradients_pass_to_the_weights_and_to_what_is_read() -> None:
    _, graph = made("LSTM", 2)
    FakeQuantizer(graph, {"memory": 8}, activations={"memory": "dynamic"}).switch_on()
    graph(INPUTS).square().sum().backward()
    gradients = {name: parameter.grad for name, parameter in graph.named_parameters()}
    assert all(grad is not None and grad.abs().sum() > 0 for grad in gradients.values()), gradients.keys()


def test_a_network_with_taps_is_rounded_too() -> None:
    _, graph = made("LSTM")
    fake = FakeQuantizer(graph, {"memory": 8}, activations={"memory": "dynamic"})
    with_taps = tapped(graph, find_places(graph))
    fake.switch_on()
    with torch.no_grad():
        torch.testing.assert_close(read_taps(with_taps(INPUTS)).outputs, graph(INPUTS))


def test_copies_that_were_made_before_stay_as_they_are() -> None:
    _, graph = made("GRU")
    other = copy.deepcopy(graph)
    FakeQuantizer(graph, {"memory": 8}, activations={"memory": "float"}).switch_on()
    with torch.no_grad():
        assert not torch.equal(graph(INPUTS), other(INPUTS))


@pytest.mark.parametrize("way", ["dynamic", "float"])
def test_what_one_loses_is_measured_as_training_computes_it(way: str) -> None:
    _, graph = made("LSTM", 2)
    parent = Parent.of(graph, look_at_network(graph, INPUTS[:1]))
    one = StudentSpec(bits={"memory": 8}, activations={"memory": way})
    other = StudentSpec(bits={"steps": 8})
    meter = KLMeter(parent, INPUTS, categorical_divergence, lambda: False)
    got = meter.measure({Question("memory", 8): one, Question("steps", 8): other})
    alone = meter.measure({Question("steps", 8): other})
    assert alone[Question("steps", 8)] == got[Question("steps", 8)], "one decision leaves the others alone"
    student = make_student(parent, StudentSpec()).module.eval()
    with torch.no_grad():
        expected = student(INPUTS).double()
        FakeQuantizer(student, one.bits, activations=one.activations).switch_on()
        outputs = student(INPUTS).double()
    assert got[Question("memory", 8)] == pytest.approx(
        float(categorical_divergence(outputs, expected, 1.0).mean()), rel=1e-4
    )
