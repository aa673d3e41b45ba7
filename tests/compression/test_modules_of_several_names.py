"""A module that a network has under several names is one layer: told once, with all its uses, in space and in files."""

from __future__ import annotations

from pathlib import Path

import nets
import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn

from autocompress.compression.adapters import PREFIX
from autocompress.compression.edits import Parent
from autocompress.compression.equalized import pairs_of
from autocompress.compression.export import make_template
from autocompress.compression.fake_quant import FakeQuantizer
from autocompress.compression.student import make_student
from autocompress.evaluators.runtimes.base import BuildRequest
from autocompress.evaluators.runtimes.onnx_runtime import OnnxRuntime
from autocompress.spaces.context import SpaceContext
from autocompress.spaces.graph.capture import capture
from autocompress.spaces.layers import find_layers, first_names
from autocompress.spaces.network import Network, look_at_network
from autocompress.spaces.shapes import Shapes
from autocompress.spaces.spec import Recovery, StudentSpec
from autocompress.spaces.target import Target

INPUTS = torch.randn(64, 16, generator=torch.Generator().manual_seed(0))


class Part(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(32, 64), nn.Linear(64, 32)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(self.up(x).relu())


class Repeated(nn.Module):
    """One block three times, as ALBERT has it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.layers, self.last = nn.Linear(16, 32), nn.ModuleList([Part()] * 3), nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for layer in self.layers:
            x = layer(x)
        return self.last(x)


class Alias(nn.Module):
    """A block that runs one layer twice, under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.own, self.last = nn.Linear(16, 32), nn.Linear(32, 32), nn.Linear(32, 4)
        self.alias = self.own

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        x = x + self.alias(self.own(x).relu())
        return self.last(x)


def found(make: type[nn.Module]) -> tuple[Parent, Network]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        graph = capture(make().eval(), INPUTS[:1])
    network = look_at_network(graph, INPUTS[:1])
    return Parent.of(graph, network), network


def test_the_network_has_each_layer_once_with_the_work_of_all_its_uses() -> None:
    parent, network = found(Repeated)
    assert [layer.name for layer in network.layers] == ["first", "layers.0.up", "layers.0.down", "last"]
    assert [layer.macs // layer.weights for layer in network.layers] == [1, 3, 3, 1]
    assert {layer.area for layer in network.layers} == {1}
    context = SpaceContext(network.layers, network.groups, nets.CAPABILITIES, network.modules)
    told = Shapes(context).of(StudentSpec())
    assert told.macs.tolist() == [layer.macs for layer in network.layers]
    assert told.writes.tolist() == [32, 3 * 64, 3 * 32, 4]
    assert [entry.name for entry in network.left_out] == ["last"], "what can shrink is not said to be left out"
    half = StudentSpec({group.name: group.channels // 2 for group in network.groups})
    narrow = make_student(parent, half).module
    assert narrow.get_parameter("layers.2.up.weight").shape == (32, 16)
    assert [layer.macs // layer.weights for layer in find_layers(narrow, INPUTS[:1])] == [1, 3, 3, 1]


def test_a_block_that_runs_a_layer_under_two_names_can_be_dropped() -> None:
    parent, network = found(Alias)
    assert first_names(parent.module)["alias"] == "own"
    (block,) = network.blocks
    assert block.layers == ("own",)
    less = make_student(parent, StudentSpec(dropped=(block.name,))).module
    assert [layer.name for layer in find_layers(less, INPUTS[:1])] == ["first", "last"]


def test_an_adapter_comes_behind_the_last_use_in_its_block() -> None:
    parent, _ = found(Alias)
    adapted = make_student(parent, StudentSpec(recovery=Recovery(tune="adapters"))).module
    assert isinstance(adapted, fx.GraphModule)
    calls = [str(node.target) for node in adapted.graph.nodes if node.op == "call_module"]
    assert [name for name in calls if not name.startswith(PREFIX)] == ["first", "own", "alias", "last"]
    assert calls[3].startswith(PREFIX)


def test_no_scale_is_moved_through_a_layer_that_runs_elsewhere_too() -> None:
    parent, _ = found(Repeated)
    assert pairs_of(parent.module) == ()


@pytest.mark.parametrize("way", ["static", "dynamic"])
def test_files_have_the_bits_at_all_uses(tmp_path: Path, way: str) -> None:
    parent, network = found(Repeated)
    template = make_template(parent.module, INPUTS[:2], symbolic_batch=True)
    bits = {layer.name: 8 for layer in network.layers}
    ways = dict.fromkeys(bits, way) if way == "dynamic" else {}
    model = template.write(parent.module)
    request = BuildRequest(model, template.layers, bits, INPUTS.numpy(), parent.module, activations=ways)
    assert request.widths == (8,) * 8
    path = tmp_path / "model.onnx"
    OnnxRuntime().build(request, path)
    assert OnnxRuntime().remark(OnnxRuntime().inspect(path, Target()), request.widths) == ""
    fake = FakeQuantizer(parent.module, bits, activations=ways)
    fake.switch_on()
    with torch.no_grad():
        wanted = parent.module(INPUTS).numpy()
    fake.switch_off()
    got = OnnxRuntime().load(path, Target(batch=len(INPUTS))).run(INPUTS.numpy())
    assert np.abs(got - wanted).max() < 0.05 * np.abs(wanted).max()
