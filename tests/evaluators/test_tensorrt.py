"""TensorRT and TensorRT for RTX.

RTX builds engines without a GPU; what they would answer is shown by running the very ONNX they are built from on ONNX
Runtime. Running engines needs a GPU, and is skipped, with the reason, without one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from nets import FlattenNet, grouped_net, shaken, small_resnet
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision import models

from autocompress.compression.export import make_template
from autocompress.compression.masks import mask_of
from autocompress.errors import MeasurementError, RuntimeUnavailable
from autocompress.evaluators.runtimes.base import BuildRequest
from autocompress.evaluators.runtimes.registry import get_runtime
from autocompress.evaluators.runtimes.tensorrt import TensorRt, TensorRtRtx, network_summary
from autocompress.evaluators.runtimes.tensorrt_quantize import has_two_four, typed
from autocompress.spaces.spec import Pattern
from autocompress.spaces.target import Target
from autocompress.testing import RuntimeConformance

pytestmark = pytest.mark.slow

NEAR = {32: 1e-4, 16: 1e-2, 8: 0.1}


class TestTensorRt(RuntimeConformance):
    target = Target(runtime="tensorrt", device="cuda")

    def make_runtime(self) -> TensorRt:
        return TensorRt()

    def sample_artifact(self, folder: Path) -> Path:
        path = folder / "sample.engine"
        self.make_runtime().build(self.sample_student()[0], path)
        return path


class TestTensorRtRtx(TestTensorRt):
    target = Target(runtime="tensorrt_rtx", device="cuda")

    def make_runtime(self) -> TensorRt:
        return TensorRtRtx()


class RtxWithInt8Inputs(TensorRtRtx):
    """RTX given the networks that TensorRT would get: the same parser reads them, and no GPU is needed."""

    _kernels = TensorRt._kernels


class Residual(nn.Module):
    """A shortcut around two convolutions, one of them depthwise."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm0 = nn.Conv2d(3, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32)
        self.depthwise, self.norm1 = nn.Conv2d(32, 32, 3, padding=1, groups=32, bias=False), nn.BatchNorm2d(32)
        self.pointwise, self.norm2 = nn.Conv2d(32, 32, 1, bias=False), nn.BatchNorm2d(32)
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm0(self.stem(x)))
        x = torch.relu(x + self.norm2(self.pointwise(nn.functional.hardtanh(self.norm1(self.depthwise(x)), 0, 6))))
        return self.head(x.mean((2, 3)))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Case:
    """A student on its way to a file, inputs and what the student makes of them."""

    request: BuildRequest
    inputs: NDArray[Any]
    outputs: NDArray[Any]

    @property
    def names(self) -> list[str]:
        return list(self.request.layers.values())

    def with_bits(self, *bits: int) -> BuildRequest:
        """The request with these bits for its layers in turn, over and over."""
        asked = {name: bits[i % len(bits)] for i, name in enumerate(self.names)}
        return replace(self.request, bits={name: width for name, width in asked.items() if width < 32})

    def distance(self, request: BuildRequest, activations: bool = True) -> float:
        """How far the ONNX for TensorRT is from the student, relative to the student's largest output."""
        model = typed(request.model, request.layers, request.bits, request.calibration, activations)
        options = onnxruntime.SessionOptions()
        # rewritten (WeightBiasQuantization), biases would be quantized too, with scales too small for float16
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
        assert {s.type for s in (*session.get_inputs(), *session.get_outputs())} == {"tensor(float)"}
        return relative(session.run(None, {"input": self.inputs})[0], self.outputs)


def relative(got: NDArray[Any], expected: NDArray[Any]) -> float:
    assert got.shape == expected.shape
    return float(np.abs(got - expected).max() / np.abs(expected).max())


def case(model: nn.Module, shape: tuple[int, ...], batch: int = 1) -> Case:
    model = shaken(model).eval()
    generator = torch.Generator().manual_seed(3)
    inputs = torch.randn(16, *shape, generator=generator)
    template = make_template(model, torch.zeros(batch, *shape))
    request = BuildRequest(template.write(model), template.layers, {}, inputs.numpy(), model, template.batch)
    with torch.no_grad():
        return Case(request, inputs[: batch if batch > 1 else 16].numpy(), model(inputs).numpy()[: len(inputs)])


NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "flatten": (FlattenNet, (3, 16, 16)),
    "grouped": (grouped_net, (3, 16, 16)),
    "residual": (Residual, (3, 16, 16)),
    "resnet": (small_resnet, (3, 64, 64)),
    "mobilenet_v2": (lambda: models.mobilenet_v2(weights=None, num_classes=10), (3, 64, 64)),
}
LARGE = {"resnet18": (lambda: models.resnet18(weights=None, num_classes=10), (3, 64, 64))}


@pytest.fixture(scope="module")
def cases() -> Callable[[str], Case]:
    known: dict[str, Case] = {}

    def get(name: str) -> Case:
        if name not in known:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                make, shape = {**NETS, **LARGE}[name]
                known[name] = case(make(), shape)
        return known[name]

    return get


@pytest.fixture
def rtx() -> TensorRtRtx:
    runtime = TensorRtRtx()
    if not runtime.available().builds:
        pytest.skip(runtime.available().reason)
    return runtime


Cases = Callable[[str], Case]


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("activations", [True, False], ids=["int8 inputs", "int8 weights only"])
def test_what_is_given_to_tensorrt_means_the_same_as_the_student(cases: Cases, name: str, activations: bool) -> None:
    one = cases(name)
    for bits, near in NEAR.items():
        assert one.distance(one.with_bits(bits), activations) < near
    for mixed in ((32, 16), (32, 8), (8, 16), (16, 8, 32)):
        assert one.distance(one.with_bits(*mixed), activations) < NEAR[min(mixed)]


@pytest.mark.parametrize("name", NETS)
def test_every_layer_is_built_in_the_precision_of_the_plan(cases: Cases, name: str, rtx: TensorRtRtx) -> None:
    one = cases(name)
    words = {32: "f32", 16: "f16", 8: "int8"}
    for bits in ((32,), (16,), (8,), (32, 16, 8)):
        request = one.with_bits(*bits)
        engine, kinds = RtxWithInt8Inputs().compiled(request, name)
        assert len(engine) > 1000
        asked = [words[request.bits.get(layer, 32)] for layer in one.names]
        built = {
            word: sum(n for kind, n in kinds.items() if kind.split(" in ")[0] in ("convolution", "matrix_multiply")
                      and kind.endswith(f" in {word}"))
            for word in words.values()
        }  # fmt: skip
        assert built == {word: asked.count(word) for word in words.values()}


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_half_the_bits_make_the_engine_of_a_large_network_half_as_large(
    cases: Cases, name: str, rtx: TensorRtRtx, tmp_path: Path
) -> None:
    sizes = {}
    for bits in (32, 16):
        path = tmp_path / f"{bits}{rtx.suffix}"
        rtx.build(cases(name).with_bits(bits), path)
        sizes[bits] = path.stat().st_size
    assert sizes[16] < 0.6 * sizes[32]


def test_two_of_four_zeros_are_found_and_built(cases: Cases, rtx: TensorRtRtx, tmp_path: Path) -> None:
    dense = cases("flatten").request
    assert not has_two_four(dense.model, dense.layers)
    model = FlattenNet()
    for layer in (model.conv2, model.linear1):
        layer.weight.data *= mask_of(layer.weight.data, Pattern("2:4", 0.5))
    sparse = case(model, NETS["flatten"][1])
    assert has_two_four(sparse.request.model, sparse.request.layers)
    for bits in (32, 16, 8):
        request = sparse.with_bits(bits)
        assert sparse.distance(request) < NEAR[bits]
        RtxWithInt8Inputs().build(request, tmp_path / f"{bits}.engine")


def test_four_bits_are_for_linear_layers(rtx: TensorRtRtx, tmp_path: Path) -> None:
    torch.manual_seed(0)
    one = case(nn.Sequential(nn.Linear(512, 1024), nn.ReLU(), nn.Linear(1024, 10)), (512,))
    four, sixteen = one.with_bits(4, 16), one.with_bits(16)
    assert one.distance(four) < 0.2
    for request, name in ((four, "four"), (sixteen, "sixteen")):
        rtx.build(request, tmp_path / name)
    assert (tmp_path / "four").stat().st_size < 0.7 * (tmp_path / "sixteen").stat().st_size
    convolution, _, _ = TestTensorRtRtx().sample_student()
    with pytest.raises(MeasurementError, match="4 bits are for linear layers") as caught:
        rtx.build(replace(convolution, bits={"0": 4}), tmp_path / "convolution")
    assert "\n" not in str(caught.value) and not (tmp_path / "convolution").exists()


def test_a_graph_with_a_batch_of_its_own_is_built(rtx: TensorRtRtx, tmp_path: Path) -> None:
    one = case(FlattenNet(), NETS["flatten"][1], batch=4)
    for bits in (32, 8):
        model = one.with_bits(bits)
        rtx.build(model, tmp_path / f"{bits}.engine")
        assert (tmp_path / f"{bits}.engine").stat().st_size > 1000


def test_an_operator_that_it_cannot_read_is_told_in_one_line(rtx: TensorRtRtx, tmp_path: Path) -> None:
    sides = [
        onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, s) for n, s in (("a", [2, 3, 3]), ("b", [2]))
    ]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Det", ["a"], ["b"], "det")], "det", sides[:1], sides[1:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)], ir_version=10)
    with pytest.raises(MeasurementError, match="cannot read it") as caught:
        rtx.build(BuildRequest(model, {}, {}, np.zeros((2, 3, 3), np.float32)), tmp_path / "det.engine")
    assert "Det" in str(caught.value) and "det.engine" in str(caught.value) and "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_the_summary_says_what_was_built(cases: Cases, rtx: TensorRtRtx) -> None:
    one = cases("residual")
    said = network_summary(rtx, one.with_bits(16))
    assert "convolution in f16 3" in said and "matrix_multiply in f16 1" in said and "bytes" in said


@pytest.mark.parametrize("name", ["tensorrt", "tensorrt_rtx"])
def test_capabilities_are_told_without_a_gpu_and_for_no_other_device(name: str) -> None:
    runtime = get_runtime(name)
    offered = runtime.capabilities(Target(runtime=name, device="cuda"))
    assert {32, 16} <= set(offered.latency_bits)
    assert (8 in offered.latency_bits) == (name == "tensorrt")
    with pytest.raises(RuntimeUnavailable, match="allowed: cuda"):
        runtime.capabilities(Target(runtime=name))


@pytest.mark.parametrize("name", ["tensorrt", "tensorrt_rtx"])
def test_a_missing_file_or_gpu_is_told_in_one_line(name: str, tmp_path: Path) -> None:
    runtime, target = get_runtime(name), Target(runtime=name, device="cuda")
    for verb in (runtime.load, runtime.inspect):
        with pytest.raises(MeasurementError, match=r"missing\.engine: no such file"):
            verb(tmp_path / "missing.engine", target)
    if runtime.available().ok:
        return
    present = tmp_path / "present.engine"
    present.write_bytes(b"an engine of another machine")
    for verb in (runtime.load, runtime.inspect):
        with pytest.raises(RuntimeUnavailable, match=name) as caught:
            verb(present, target)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("runtime", [TensorRt(), RtxWithInt8Inputs()], ids=lambda r: r.name)
def test_more_layers_in_a_wider_precision_than_asked_are_remarked_on(runtime: TensorRt) -> None:
    assert runtime.remark({"CaskConvolution in int8": 2, "gemm in f16": 1, "Reformat in f32": 4}, [8, 8, 16]) == ""
    remark = runtime.remark({"CaskConvolution in f32": 2, "gemm in f16": 1}, [8, 8, 16])
    assert "f32 2" in remark and "int8 2" in remark


@pytest.mark.gpu
@pytest.mark.parametrize("runtime", [TensorRt(), TensorRtRtx()], ids=lambda r: r.name)
@pytest.mark.parametrize("name", NETS)
def test_engines_answer_as_their_students_in_any_batch(
    cases: Cases, name: str, runtime: TensorRt, tmp_path: Path
) -> None:
    if not runtime.available().ok:
        pytest.skip(runtime.available().reason)
    one, target = cases(name), Target(runtime=runtime.name, device="cuda")
    for bits in ((32,), (16,), (8,), (32, 16, 8)):
        path = tmp_path / f"engine{runtime.suffix}"
        runtime.build(one.with_bits(*bits), path)
        loaded = runtime.load(path, target)
        assert relative(loaded.run(one.inputs), one.outputs) < NEAR[min(bits)]
        assert relative(loaded.run(one.inputs[:1]), one.outputs[:1]) < 2 * NEAR[min(bits)]
