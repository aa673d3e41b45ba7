"""Files of networks whose layers share weights: each layer computes with the bits that were asked of it alone."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from autocompress.compression.export import Template, make_template
from autocompress.compression.fake_quant import fake_quantized_weight
from autocompress.evaluators.runtimes.base import BuildRequest
from autocompress.evaluators.runtimes.onnx_runtime import OnnxRuntime
from autocompress.evaluators.runtimes.tensorrt_quantize import typed
from autocompress.spaces.graph.capture import capture
from autocompress.spaces.target import Target

HERE = Target("onnxruntime")
INPUTS = torch.randn(32, 16, generator=torch.Generator().manual_seed(0))
TOKENS = torch.randint(0, 60, (32, 6), generator=torch.Generator().manual_seed(0))


class Pair(nn.Module):
    """Two layers with one weight, and one between them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.a, self.c = nn.Linear(16, 48), nn.Linear(48, 48), nn.Linear(48, 48)
        self.b, self.last = nn.Linear(48, 48), nn.Linear(48, 5)
        self.b.weight = self.a.weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.c(self.a(self.first(x).relu()).relu()).relu()
        return self.last(self.b(x).relu())


class Recommender(nn.Module):
    """The last item says what comes next; the last layer has the weight of the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.items, self.up, self.down = nn.Embedding(60, 24), nn.Linear(24, 48), nn.Linear(48, 24)
        self.out = nn.Linear(24, 60, bias=False)
        self.out.weight = self.items.weight

    def forward(self, items: Tensor) -> Tensor:
        x = self.items(items)
        x = x + self.down(self.up(x).relu())
        return self.out(x[:, -1])


class Scaled(nn.Module):
    """Two operators between layers read one parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(16, 48), nn.Linear(48, 48), nn.Linear(48, 5)
        self.scale = nn.Parameter(torch.randn(48))

    def forward(self, x: Tensor) -> Tensor:
        return self.last((self.second((self.first(x) * self.scale).relu()) * self.scale).relu())


class Language(nn.Module):
    """Words, a layer that runs twice, and a last one with the weight of the words; both are large."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.twice, self.down = nn.Embedding(520, 520), nn.Linear(520, 520), nn.Linear(520, 16)
        self.up, self.last = nn.Linear(16, 520), nn.Linear(520, 520, bias=False)
        self.last.weight = self.words.weight

    def forward(self, words: Tensor) -> Tensor:
        x = self.twice(self.twice(self.words(words)).relu()).relu()
        return self.last(self.up(self.down(x)))


NETWORKS = {
    "pair": (Pair, INPUTS),
    "recommender": (Recommender, TOKENS),
    "scaled": (Scaled, INPUTS),
    "language": (Language, TOKENS),
}
Made = tuple[nn.Module, Template, Tensor]


@pytest.fixture(scope="module")
def networks() -> Mapping[str, Made]:
    """Networks, their templates and inputs; do not change them."""
    found = {}
    for name, (make, inputs) in NETWORKS.items():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            captured = capture(make().eval(), inputs[:1])
        found[name] = captured, make_template(captured, inputs[:2], symbolic_batch=True), inputs
    return found


def built(path: Path, made: Made, bits: Mapping[str, int], ways: Mapping[str, str] | None = None) -> str:
    """Write a file, and return what its runtime remarks on it."""
    module, template, inputs = made
    request = BuildRequest(
        template.write(module),
        template.layers,
        bits,
        inputs.numpy(),
        module,
        tables=template.tables,
        activations=ways or {},
    )
    OnnxRuntime().build(request, path)
    return OnnxRuntime().remark(OnnxRuntime().inspect(path, HERE), request.widths)


def answers(path: Path, inputs: Tensor) -> Tensor:
    return torch.from_numpy(OnnxRuntime().load(path, HERE).run(inputs.numpy()))


def rounded(made: Made, bits: Mapping[str, int]) -> Tensor:
    """What the network says where each of these layers has a weight of its own, rounded to its bits."""
    apart = copy.deepcopy(made[0])
    for name, width in bits.items():
        layer = apart.get_submodule(name)
        weight = layer.weight.detach()
        layer.weight = nn.Parameter(weight.half().float() if width == 16 else fake_quantized_weight(weight, width))
    with torch.no_grad():
        return apart(made[2])


@pytest.mark.parametrize(
    ("name", "bits"),
    [
        ("pair", {"a": 4}),
        ("pair", {"b": 4}),
        ("pair", {"a": 4, "b": 16}),
        ("pair", {"a": 4, "b": 4}),
        ("recommender", {"out": 4}),
        ("recommender", {"out": 16}),
    ],
)
def test_stored_bits_of_a_layer_do_not_reach_what_shares_its_weight(
    networks: Mapping[str, Made], tmp_path: Path, name: str, bits: dict[str, int]
) -> None:
    made = networks[name]
    built(tmp_path / "model.onnx", made, bits)
    got, wanted = answers(tmp_path / "model.onnx", made[2]), rounded(made, bits)
    torch.testing.assert_close(got, wanted, atol=2e-5, rtol=1e-4)
    assert (rounded(made, {}) - wanted).abs().max() > 1e-4, "rounding is seen in the answers"


def test_weights_that_become_alike_are_stored_once(networks: Mapping[str, Made], tmp_path: Path) -> None:
    built(tmp_path / "one.onnx", networks["pair"], {"a": 4, "b": 4})
    built(tmp_path / "two.onnx", networks["pair"], {"a": 4})
    one, two = ((tmp_path / f"{name}.onnx").stat().st_size for name in ("one", "two"))
    assert two - one == pytest.approx(4 * 48 * 48, abs=600), "the float one is there for the other layer"


def test_rows_are_looked_up_in_float_where_only_the_last_layer_has_eight_bits(
    networks: Mapping[str, Made], tmp_path: Path
) -> None:
    made = networks["recommender"]
    assert built(tmp_path / "model.onnx", made, {"out": 8}) == ""
    model = onnx.load(tmp_path / "model.onnx")
    held = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    tables = [held.get(node.input[0]) for node in model.graph.node if node.op_type == "Gather"]
    wanted = made[0].get_parameter("items.weight").detach().numpy()
    assert any(table is not None and np.array_equal(table, wanted) for table in tables)
    assert [each.size for each in held.values() if each.dtype == np.int8 and each.ndim == 2] == [60 * 24]


@pytest.mark.parametrize(
    ("bits", "ways"),
    [
        ({"a": 8}, {}),
        ({"a": 8, "b": 8}, {"b": "dynamic"}),
        ({"a": 8, "b": 8}, {"a": "dynamic", "b": "float"}),
        ({"a": 4, "b": 8}, {"a": "float", "b": "float"}),
        ({"a": 8, "b": 4}, {"b": "float"}),
    ],
)
def test_each_layer_has_its_own_activations_too(
    networks: Mapping[str, Made], tmp_path: Path, bits: dict[str, int], ways: dict[str, str]
) -> None:
    made = networks["pair"]
    assert built(tmp_path / "model.onnx", made, bits, ways) == ""
    got, wanted, plain = answers(tmp_path / "model.onnx", made[2]), rounded(made, bits), rounded(made, {})
    off = float((got - wanted).abs().max() / plain.abs().max())
    assert off < (0.03 if 4 not in bits.values() else 0.1), "as far as grids of weights by groups are from whole ones"


def test_a_parameter_of_operators_has_eight_bits_only_where_they_do(
    networks: Mapping[str, Made], tmp_path: Path
) -> None:
    made = networks["scaled"]
    assert built(tmp_path / "model.onnx", made, {"first": 8}) == ""
    model = onnx.load(tmp_path / "model.onnx")
    held = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    read = [held.get(name) for node in model.graph.node if node.op_type == "Mul" for name in node.input]
    wanted = made[0].get_parameter("scale").detach().numpy()
    assert sum(each is not None and np.array_equal(each, wanted) for each in read) == 1


def test_large_weights_that_are_turned_over_while_the_graph_runs_have_bits_too(
    networks: Mapping[str, Made], tmp_path: Path
) -> None:
    _, template, _ = made = networks["language"]
    kinds = [node.op_type for node in template.model.graph.node]
    assert "Transpose" in kinds, "the exporter leaves turning large shared weights over to the runtime"
    assert sorted(template.layers.values()) == ["down", "last", "twice", "twice", "up"]
    assert set(template.tables.values()) == {"words"}
    sizes = {}
    for width in (32, 16, 8, 4):
        bits = {"last": width, "twice": width} if width < 32 else {}
        assert built(tmp_path / f"{width}.onnx", made, bits) == ""
        sizes[width] = (tmp_path / f"{width}.onnx").stat().st_size
    whole = 520 * 520
    for width in (16, 8):  # one of both weights is there in float too, for the words
        assert sizes[width] - sizes[32] == pytest.approx(whole * (2 * width / 8 - 4), abs=20_000)
    assert sizes[4] < sizes[8]
    got, wanted = answers(tmp_path / "16.onnx", made[2]), rounded(made, {"last": 16, "twice": 16})
    torch.testing.assert_close(got, wanted, atol=2e-5, rtol=1e-4)
    assert (rounded(made, {}) - wanted).abs().max() > 1e-4, "rounding is seen in the answers"
    looked_up = onnx.load(tmp_path / "8.onnx").graph
    floats = {each.name for each in looked_up.initializer if each.data_type == onnx.TensorProto.FLOAT}
    assert all(node.input[0] in floats for node in looked_up.node if node.op_type == "Gather")


def test_tensorrt_has_pairs_around_a_weight_that_was_turned_over(networks: Mapping[str, Made]) -> None:
    module, template, inputs = networks["language"]
    made = typed(template.write(module), template.layers, {"last": 8}, inputs.numpy())
    makers = {name: node for node in made.graph.node for name in node.output}
    name = next(node for node, layer in template.layers.items() if layer == "last")
    last = next(node for node in made.graph.node if node.name == name)
    assert [makers[given].op_type for given in last.input] == ["DequantizeLinear"] * 2


def test_a_remark_tells_of_a_layer_with_bits_that_is_not_in_the_graph(
    networks: Mapping[str, Made], tmp_path: Path
) -> None:
    module, template, inputs = networks["pair"]
    known = {node: layer for node, layer in template.layers.items() if layer != "c"}
    request = BuildRequest(template.write(module), known, {"c": 8, "first": 8}, inputs.numpy(), module)
    assert sorted(request.widths) == [8, 8, 32, 32, 32]
    OnnxRuntime().build(request, tmp_path / "model.onnx")
    operators = OnnxRuntime().inspect(tmp_path / "model.onnx", HERE)
    assert OnnxRuntime().remark(operators, request.widths) == "1 layers run in int8, 2 were asked for"
    gates = BuildRequest(template.write(module), template.layers, {"gates": 8}, inputs.numpy(), module)
    assert gates.widths == (32, 32, 32, 32, 32, 8)
    assert replace(gates, recurrent={"node": "gates"}).widths == (32,) * 5, "its weights are stored in 8 bits"
