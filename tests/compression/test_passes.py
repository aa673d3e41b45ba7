"""Networks whose values are large look at fewer inputs at a time, and answer the same."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from autocompress.compression.fake_quant import FakeQuantizer
from autocompress.compression.first_look import outputs_with_bits
from autocompress.compression.passes import inputs_at_once
from autocompress.studies.data.tensors import TensorData

LARGEST = 8 * 16 * 16
"""Numbers that the convolution writes for one input."""


@pytest.fixture
def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)
        return nn.Sequential(*layers).eval()


@pytest.mark.parametrize(("room", "many"), [(100 * LARGEST, 32), (3 * LARGEST, 3), (LARGEST // 2, 1)])
def test_inputs_at_once_have_room(network: nn.Module, monkeypatch: pytest.MonkeyPatch, room: int, many: int) -> None:
    monkeypatch.setattr("autocompress.compression.passes.NUMBERS", room)
    assert inputs_at_once(network, torch.zeros(5, 1, 16, 16), 32) == many


def test_outputs_do_not_depend_on_how_many_look_together(network: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = torch.randn(7, 1, 16, 16)
    seen: set[int] = set()
    data = TensorData(inputs, torch.zeros(7, dtype=torch.long))
    network.register_forward_pre_hook(lambda _, given: seen.add(len(given[0])))

    def outputs() -> Tensor:
        fake = FakeQuantizer(network, {})
        return outputs_with_bits(network, fake, inputs, data, torch.arange(7), torch.device("cpu"), precise=True)

    together = outputs()
    assert 7 in seen
    seen.clear()
    monkeypatch.setattr("autocompress.compression.passes.NUMBERS", 2 * LARGEST)
    torch.testing.assert_close(outputs(), together)
    assert seen == {1, 2}
