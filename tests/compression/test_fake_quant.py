"""Fake quantization: weights on their grid, switched on and off without a trace."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from autocompress.compression.fake_quant import FakeQuantizer, fake_quantized_weight
from autocompress.studies.models import cifar_resnet


@given(st.sampled_from([4, 8]), st.integers(0, 999), st.sampled_from([(3, 5), (4, 2, 3, 3)]))
def test_fake_quantized_weights_lie_on_their_grid(width: int, seed: int, shape: tuple[int, ...]) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    top = 2 ** (width - 1) - 1
    quantized = fake_quantized_weight(weight, width)
    scale = weight.abs().flatten(1).amax(1).view(-1, *[1] * (weight.ndim - 1)) / top
    codes = quantized / scale
    torch.testing.assert_close(codes, codes.round(), rtol=0, atol=1e-3)
    assert float(codes.abs().max()) <= top + 1e-3
    assert bool(((quantized - weight).abs() <= scale / 2 * 1.001).all()), "the nearest point of the grid"
    torch.testing.assert_close(fake_quantized_weight(quantized, width), quantized)


def test_fake_quantization_switches_off_without_a_trace() -> None:
    torch.manual_seed(0)
    module, inputs = cifar_resnet(8, width=8, shortcut="conv", channels=1).eval(), torch.randn(8, 1, 8, 8)
    state = {k: v.clone() for k, v in module.state_dict().items()}
    with torch.no_grad():
        before = module(inputs)
        fake = FakeQuantizer(module, {"conv1": 8, "linear": 4, "layer1.0.conv1": 16})
        fake.switch_on()
        during = module(inputs)
        fake.switch_off()
        assert torch.equal(module(inputs), before)
    assert not torch.equal(during, before)
    assert set(fake.ranges) == {"conv1"}, "only 8-bit layers have quantized inputs"
    assert all(torch.equal(v, state[k]) for k, v in module.state_dict().items())


def test_gradients_pass_through_fake_quantization() -> None:
    layer = nn.Sequential(nn.Linear(4, 3))
    FakeQuantizer(layer, {"0": 8}).switch_on()
    layer(torch.randn(5, 4)).square().sum().backward()
    gradient = layer[0].weight.grad
    assert gradient is not None and float(gradient.abs().sum()) > 0
