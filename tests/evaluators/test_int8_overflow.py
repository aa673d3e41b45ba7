"""Weights in 8 bits where kernels would overflow: files answer as their students, whatever the CPU multiplies with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from autocompress.compression.fake_quant import FakeQuantizer, fake_quantized_weight
from autocompress.compression.learned_steps import LearnedSteps
from autocompress.evaluators.artifact import ArtifactBuilder
from autocompress.evaluators.runtimes import onnx_runtime
from autocompress.evaluators.runtimes.onnx_overflow import SAFE_TOP
from autocompress.evaluators.runtimes.onnx_runtime import weight_top
from autocompress.evaluators.runtimes.registry import get_runtime
from autocompress.evaluators.score import as_arrays, predict, relative_difference
from autocompress.evaluators.templates import Templates
from autocompress.spaces.graph.capture import capture
from autocompress.spaces.layers import find_layers
from autocompress.spaces.spec import StudentSpec
from autocompress.spaces.target import INT8_TOP, Capabilities, Target, joint_capabilities

INPUTS = 0.9 + 0.1 * torch.rand(16, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Reached(nn.Module):
    """A network of which the largest codes of weights meet the largest codes of inputs, in each layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.inner = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 3)
        self.point, self.head = nn.Conv2d(16, 32, 1), nn.Linear(32, 8)
        for layer in (self.stem, self.inner, self.point, self.head):
            nn.init.constant_(layer.weight, 1 / layer.weight[0].numel())

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.point(self.inner(self.stem(x).relu()).relu()).relu().mean((2, 3)))


def built(folder: Path, runtime: str, network: nn.Module, inputs: Tensor, way: str = "") -> Path:
    graph = capture(network.eval(), inputs[:1])
    layers = [layer.name for layer in find_layers(graph, inputs[:1])]
    spec = StudentSpec(bits=dict.fromkeys(layers, 8), activations=dict.fromkeys(layers, way) if way else {})
    builder = ArtifactBuilder(get_runtime(runtime), Target(runtime), Templates(graph, inputs[:1]), inputs, inputs)
    path = folder / f"model{builder.runtime.suffix}"
    builder.teacher_file(folder / f"teacher{builder.runtime.suffix}")
    builder.build(graph, spec, path)
    return path


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino", "executorch", "litert"])
def test_sums_of_the_largest_codes_are_what_they_are(runtime: str, tmp_path: Path) -> None:
    found = get_runtime(runtime)
    if not found.available().ok:
        pytest.skip(f"{runtime}: {found.available().reason}")
    network = Reached()
    path = built(tmp_path, runtime, network, INPUTS)
    with torch.no_grad():
        wanted = network(INPUTS).numpy()
    assert relative_difference(predict(path, found, Target(runtime), as_arrays(INPUTS)), wanted) < 0.05


@pytest.mark.parametrize("way", ["dynamic", "float"])
def test_linear_layers_without_known_ranges_do_not_overflow_either(tmp_path: Path, way: str) -> None:
    network = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 8))
    for layer in (network[0], network[2]):
        nn.init.constant_(layer.weight, 1 / 64)
    inputs = 0.9 + 0.1 * torch.rand(16, 64, generator=torch.Generator().manual_seed(0))
    path = built(tmp_path, "onnxruntime", network, inputs, way)
    with torch.no_grad():
        wanted = network(inputs).numpy()
    got = predict(path, get_runtime("onnxruntime"), Target("onnxruntime"), as_arrays(inputs))
    assert relative_difference(got, wanted) < 0.02


@pytest.mark.parametrize("rows", [1, 7, 64])
@pytest.mark.parametrize("outputs", [1, 5, 64])
def test_no_product_with_codes_up_to_the_top_is_cut_off(rows: int, outputs: int) -> None:
    top, inputs = weight_top(), 96
    weight = numpy_helper.from_array(np.full((inputs, outputs), top, np.int8), "weight")
    takes = helper.make_tensor_value_info("rows", TensorProto.UINT8, [rows, inputs])
    gives = helper.make_tensor_value_info("sums", TensorProto.INT32, [rows, outputs])
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["rows", "weight"], ["sums"])], "product", [takes], [gives], [weight]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    sums = session.run(None, {"rows": np.full((rows, inputs), 255, np.uint8)})[0]
    assert (sums == 255 * top * inputs).all()


def codes(path: Path) -> Iterator[np.ndarray]:
    for each in onnx.load(path).graph.initializer:
        if each.data_type == TensorProto.INT8 and numpy_helper.to_array(each).any():
            yield numpy_helper.to_array(each)


@pytest.mark.parametrize("top", [INT8_TOP, SAFE_TOP])
@pytest.mark.parametrize("way", ["", "dynamic"])
def test_files_use_up_the_grid_that_the_cpu_can_multiply_and_no_more(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: str, top: int
) -> None:
    monkeypatch.setattr(onnx_runtime, "weight_top", lambda: top)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 8))
    found = list(codes(built(tmp_path, "onnxruntime", network, torch.randn(16, 20), way)))
    assert len(found) == 2 and {int(np.abs(each.astype(int)).max()) for each in found} == {top}


@pytest.mark.parametrize("learned", [False, True])
def test_training_computes_on_the_grid_of_the_file(learned: bool) -> None:
    layer = nn.Sequential(nn.Linear(32, 8))
    inputs, weight = torch.zeros(4, 32), layer[0].weight.detach().clone()
    steps = LearnedSteps() if learned else None
    fake = FakeQuantizer(layer, {"0": 8}, steps=steps, weight_top=SAFE_TOP)
    step = weight.abs().amax(1, keepdim=True) / SAFE_TOP
    inputs[:] = torch.eye(32)[:4]
    fake.switch_on()
    with torch.no_grad():
        got = layer(inputs) - layer[0].bias
    torch.testing.assert_close(got, ((weight / step).round() * step).T[:4], atol=1e-5, rtol=0)
    assert int((fake_quantized_weight(weight, 4, SAFE_TOP) / (weight.abs().amax(1, keepdim=True) / 7)).max()) == 7


def test_students_of_several_targets_are_taught_on_the_smallest_grid() -> None:
    whole, small = Capabilities((32, 8), (), 8), Capabilities((32, 8), (), 8, weight_top=SAFE_TOP)
    for any_of in (False, True):
        assert joint_capabilities([whole, small], any_of).weight_top == SAFE_TOP
        assert joint_capabilities([whole], any_of).weight_top == INT8_TOP
