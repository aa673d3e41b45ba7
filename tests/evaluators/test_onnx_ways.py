"""Files whose linear layers have dynamic or float activations: what runs is what was asked for, and answers alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from encoders import EXAMPLE, TOKENS, Encoder, answers, unlike
from torch import nn

from autocompress.compression.export import Template, make_template
from autocompress.compression.fake_quant import FakeQuantizer
from autocompress.evaluators.runtimes.base import BuildRequest
from autocompress.evaluators.runtimes.onnx_layers import layers_in
from autocompress.evaluators.runtimes.onnx_runtime import OnnxRuntime, weight_top
from autocompress.spaces.graph.capture import capture
from autocompress.spaces.target import Target

HERE = Target("onnxruntime")
CASES = [(8, "dynamic"), (8, "float"), (4, "float")]


@pytest.fixture(scope="module")
def small() -> tuple[nn.Module, Template]:
    """An encoder and its template; do not change it."""
    with torch.random.fork_rng(devices=[]):
        captured = capture(unlike(Encoder(first=False)), EXAMPLE)
    return captured, make_template(captured, tuple(part[:2] for part in TOKENS), symbolic_batch=True)


def perceptron(width: int = 72) -> tuple[nn.Module, Template, torch.Tensor]:
    """Layers of two dimensions, which are exported as Gemm, of a width that groups of 32 do not fill."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(20, width), nn.ReLU(), nn.Linear(width, 48), nn.ReLU(), nn.Linear(48, 10)).eval()
        inputs = torch.randn(16, 20)
    captured = capture(net, inputs[:1])
    return captured, make_template(captured, inputs[:1]), inputs


def built(
    path: Path, module: nn.Module, template: Template, inputs: tuple[torch.Tensor, ...], bits: int, way: str
) -> BuildRequest:
    layers = list(template.layers.values())
    request = BuildRequest(
        template.write(module),
        template.layers,
        dict.fromkeys(layers, bits),
        tuple(part.numpy() for part in inputs),
        module,
        activations=dict.fromkeys(layers, way),
    )
    OnnxRuntime().build(request, path)
    return request


def rounded(module: nn.Module, inputs: tuple[torch.Tensor, ...], bits: dict[str, int], way: str) -> torch.Tensor:
    fake = FakeQuantizer(module, bits, activations=dict.fromkeys(bits, way), weight_top=weight_top())
    fake.switch_on()
    try:
        with torch.no_grad():
            return module(*inputs)
    finally:
        fake.switch_off()


@pytest.mark.parametrize(("bits", "way"), CASES)
def test_the_file_answers_as_the_student_does_with_fake_quantization(tmp_path: Path, bits: int, way: str) -> None:
    module, template, inputs = perceptron()
    path = tmp_path / "model.onnx"
    request = built(path, module, template, (inputs,), bits, way)
    loaded = OnnxRuntime().load(path, HERE)
    got = np.concatenate([loaded.run(inputs[i : i + 1].numpy()) for i in range(len(inputs))])
    wanted = torch.cat([rounded(module, (inputs[i : i + 1],), dict(request.bits), way) for i in range(len(inputs))])
    with torch.no_grad():
        plain = module(inputs)
    off, rounding = float((torch.from_numpy(got) - wanted).abs().max()), float((wanted - plain).abs().max())
    largest = float(plain.abs().max())
    assert rounding > 1e-3 * largest, "the grids are coarse enough to be seen"
    # kernels of float activations round each group of inputs to 8 bits of its own
    assert off < (1e-4 if way == "dynamic" else 2e-2) * largest


@pytest.mark.parametrize(("bits", "way"), CASES)
def test_what_runs_is_what_was_asked_for(
    tmp_path: Path, small: tuple[nn.Module, Template], bits: int, way: str
) -> None:
    module, template = small
    path = tmp_path / "model.onnx"
    request = built(path, module, template, TOKENS, bits, way)
    widths = [request.bits[layer] for layer in template.layers.values()]
    operators = OnnxRuntime().inspect(path, HERE)
    assert OnnxRuntime().remark(operators, widths) == "", operators
    kind = "MatMulNBits" if way == "float" else "DynamicQuantizeMatMul"
    assert operators.get(kind, 0) + operators.get("MatMulIntegerToFloat", 0) == len(widths), operators
    assert answers(OnnxRuntime(), path).shape == (4, 5)
    found = layers_in(onnx.load(path), template.layers)
    assert set(found.nodes.values()) == set(template.layers.values()), "reports know each layer again"


def test_known_ranges_and_dynamic_ones_share_a_file(tmp_path: Path, small: tuple[nn.Module, Template]) -> None:
    module, template = small
    layers = list(dict.fromkeys(template.layers.values()))
    ways = {layer: "dynamic" for layer in layers if "layers.1" in layer} | {
        layer: "float" for layer in layers if "layers.2" in layer
    }
    bits = dict.fromkeys(layers, 8)
    inputs = tuple(part.numpy() for part in TOKENS)
    request = BuildRequest(template.write(module), template.layers, bits, inputs, module, activations=ways)
    OnnxRuntime().build(request, tmp_path / "mixed.onnx")
    operators = OnnxRuntime().inspect(tmp_path / "mixed.onnx", HERE)
    assert OnnxRuntime().remark(operators, list(bits.values())) == "", operators
    assert operators["MatMulNBits"] == sum(way == "float" for way in ways.values())
    assert np.isfinite(answers(OnnxRuntime(), tmp_path / "mixed.onnx")).all()
    assert any(kind.startswith("QLinear") for kind in operators), "the rest runs over known ranges"


def test_weights_by_groups_take_their_bits_and_their_scales(tmp_path: Path) -> None:
    module, template, inputs = perceptron(512)
    sizes = {}
    for bits, way in ((8, "float"), (4, "float")):
        built(tmp_path / "model.onnx", module, template, (inputs,), bits, way)
        sizes[bits] = (tmp_path / "model.onnx").stat().st_size
    weights = 32 * 512 + 512 * 48 + 64 * 10  # inputs fill up the last group
    assert sizes[8] - sizes[4] == pytest.approx(weights / 2, rel=0.02)


def test_a_remark_tells_of_layers_that_did_not_become_what_was_asked_for() -> None:
    remark = OnnxRuntime().remark
    assert remark({"MatMulNBits": 3}, [8, 8, 4]) == ""
    assert remark({"MatMulNBits": 1, "QGemm": 1}, [8, 8]) == ""
    assert remark({"MatMulNBits": 1, "Gemm": 1}, [8, 8]) == "1 layers run in int8, 2 were asked for"
    assert remark({"DynamicQuantizeMatMul": 2}, [8, 8]) == ""
