"""Profiles of runtimes: which layer each operator belongs to, in files that are really built and run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from autocompress.compression.export import make_template
from autocompress.errors import MeasurementError
from autocompress.evaluators.layer_shares import LayerShares, profiled_shares
from autocompress.evaluators.runtimes.base import BuildRequest
from autocompress.evaluators.runtimes.onnx_layers import layers_in
from autocompress.evaluators.runtimes.profiling import OperatorTime, ProfilingRuntime
from autocompress.evaluators.runtimes.registry import get_runtime
from autocompress.spaces.target import Target

FILES = [("onnxruntime", 32), ("onnxruntime", 16), ("onnxruntime", 8), ("onnxruntime", 4), ("openvino", 32)]
FILES += [("openvino", 8)]


class Residual(nn.Module):
    """A residual block with layers of every kind, activations that are fused and such that are not."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.wide = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.each = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.point = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x + self.point(self.each(nn.functional.silu(self.norm(self.wide(x))))))


class Mixing(nn.Module):
    """Attention over tokens, whose weights stand turned over in files."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.ask, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width, bias=False)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        asked = self.ask(x) @ self.key(x).transpose(1, 2)
        x = self.norm(x + torch.softmax(asked, -1) @ self.value(x))
        return (x + self.down(nn.functional.gelu(self.up(x)))).mean(1)


def request_of(network: nn.Module, inputs: torch.Tensor) -> BuildRequest:
    template = make_template(network.eval(), inputs[:1])
    return BuildRequest(template.write(network), template.layers, {}, inputs.numpy(), network)


@pytest.fixture(scope="module")
def requests() -> Mapping[str, BuildRequest]:
    torch.manual_seed(0)
    pool = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))
    blocks = nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU(), Residual(32), nn.Hardswish(), Residual(32), *pool)
    return {
        "blocks": request_of(blocks, torch.randn(8, 3, 24, 24)),
        "tokens": request_of(nn.Sequential(Mixing(64), nn.Linear(64, 10)), torch.randn(8, 24, 64)),
    }


@pytest.mark.parametrize(("name", "bits"), FILES)
@pytest.mark.parametrize("network", ["blocks", "tokens"])
def test_every_layer_is_found_in_a_profile(
    requests: Mapping[str, BuildRequest], network: str, name: str, bits: int, tmp_path: Path
) -> None:
    request, runtime = requests[network], get_runtime(name)
    if not runtime.available().ok:
        pytest.skip(runtime.available().reason)
    assert isinstance(runtime, ProfilingRuntime)
    path = tmp_path / "model.onnx"
    asked = {} if bits == 32 else dict.fromkeys(request.layers.values(), bits)
    runtime.build(replace(request, bits=asked), path)
    shares = profiled_shares(runtime, path, Target(runtime=name), request.calibration, request.layers)
    assert shares is not None
    found = {*shares.layers, *(layer for part in shares.together for layer in part.layers)}
    layers = set(request.layers.values())
    # OpenVINO may run a small layer inside an operator that does not name it: its time is told as other work
    assert found == layers if name == "onnxruntime" else found <= layers and len(found) >= len(layers) - 1
    assert shares.named + sum(shares.other.values()) == pytest.approx(1)


def test_layers_are_known_by_their_weights_where_nodes_have_other_names(requests: Mapping[str, BuildRequest]) -> None:
    request = requests["blocks"]
    other = {f"other_{node}": layer for node, layer in request.layers.items()}
    assert layers_in(request.model, other).nodes == request.layers


def test_a_layer_that_the_network_does_not_have_is_not_made_up(requests: Mapping[str, BuildRequest]) -> None:
    assert layers_in(requests["blocks"].model, {}).nodes == {}
    assert set(layers_in(requests["blocks"].model, {"elsewhere": "0"}).nodes.values()) == {"0"}


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_a_file_that_cannot_be_run_is_told_in_one_line(name: str, tmp_path: Path) -> None:
    runtime = get_runtime(name)
    assert isinstance(runtime, ProfilingRuntime)
    for content in (None, b"no model"):
        path = tmp_path / "broken.onnx"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(MeasurementError) as caught:
            profiled_shares(runtime, path, Target(runtime=name), np.zeros((1, 3), np.float32), {})
        assert "\n" not in str(caught.value)


NAMES = st.sampled_from(["a", "b", "c"])
OPERATORS = st.builds(
    OperatorTime,
    NAMES,
    NAMES,
    st.floats(1e-3, 1e3),
    st.lists(NAMES, max_size=3, unique=True).map(lambda names: tuple(sorted(names))),
)


@given(st.lists(OPERATORS, min_size=1, max_size=20))
def test_shares_sum_to_one_whatever_the_operators_are(operators: list[OperatorTime]) -> None:
    shares = LayerShares.of(operators)
    assert shares is not None
    assert shares.named + sum(shares.other.values()) == pytest.approx(1)


def test_no_operators_have_no_shares() -> None:
    assert LayerShares.of([]) is None
