"""Files answer each input alike, alone and with others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from autocompress.compression.edits import Parent
from autocompress.compression.student import make_student
from autocompress.errors import MeasurementError
from autocompress.evaluators.any_batch import check_file, check_graph
from autocompress.evaluators.artifact import ArtifactBuilder
from autocompress.evaluators.runtimes.registry import get_runtime
from autocompress.evaluators.score import predict
from autocompress.evaluators.templates import Templates
from autocompress.spaces.graph.capture import capture
from autocompress.spaces.network import look_at_network
from autocompress.spaces.spec import StudentSpec
from autocompress.spaces.target import Target


class Encoder(nn.Module):
    """torch's own encoder, whose batch comes second inside, so that a number for it can stand in a reshape."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Linear(12, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
        self.encoder, self.head = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False), nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(self.table(x)).mean(1))  # type: ignore[no-any-return]


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_inputs_that_come_together_are_answered_as_they_are_alone(runtime: str, tmp_path: Path) -> None:
    if not get_runtime(runtime).available().ok:
        pytest.skip(f"{runtime} does not run here")
    torch.manual_seed(0)
    inputs = torch.randn(16, 10, 12)
    graph = capture(Encoder().eval(), inputs[:1])
    network = look_at_network(graph, inputs[:1])
    groups, layers = network.groups, network.layers
    builder = ArtifactBuilder(get_runtime(runtime), Target(runtime), Templates(graph, inputs[:1]), inputs, inputs[:4])
    builder.teacher_file(tmp_path / "teacher.onnx")
    heads = {group.name: 2 for group in groups if group.name.endswith("in_proj")}
    for bits in ({}, {layer.name: 8 for layer in layers}):
        spec = StudentSpec(heads, bits)
        module = make_student(Parent(graph, groups), spec).module.eval()
        path = builder.build(module, spec, tmp_path / f"{len(bits)}.onnx").path
        with torch.no_grad():
            expected = module(inputs).numpy()
        for batch in (1, 3, 16):
            got = predict(path, builder.runtime, Target(runtime, batch=batch), inputs.numpy())
            np.testing.assert_allclose(got, expected, atol=0.1 if bits else 1e-5)


def graph(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    """A graph from rows x [N, 4] to y, with a constant `one` and the axis `first`."""
    taken = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])
    given = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    known = [numpy_helper.from_array(np.ones(4, np.float32), "one"), numpy_helper.from_array(np.array([0]), "first")]
    held = helper.make_graph(list(nodes), "graph", [taken], [given], known)
    return helper.make_model(held, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


MEAN = helper.make_node("ReduceMean", ["x", "first"], ["mean"], keepdims=1)
ALONE = graph(helper.make_node("Add", ["x", "one"], ["y"]))
MIXED = graph(MEAN, helper.make_node("Sub", ["x", "mean"], ["y"]))
JOINED = graph(MEAN, helper.make_node("Identity", ["mean"], ["y"]))


@pytest.mark.parametrize(("model", "words"), [(MIXED, "answers differently"), (JOINED, "as many outputs")])
def test_what_mixes_its_inputs_is_found_out_in_graphs_and_in_files(
    model: onnx.ModelProto, words: str, tmp_path: Path
) -> None:
    runtime, inputs = get_runtime("onnxruntime"), torch.randn(4, 4)
    onnx.save(model, str(tmp_path / "mixed.onnx"))
    onnx.save(ALONE, str(tmp_path / "alone.onnx"))
    for bad in (
        lambda: check_graph(model, inputs),
        lambda: check_file(tmp_path / "mixed.onnx", runtime, Target("onnxruntime"), inputs),
    ):
        with pytest.raises(MeasurementError, match=words):
            bad()
    check_graph(ALONE, inputs)
    check_file(tmp_path / "alone.onnx", runtime, Target("onnxruntime"), inputs)
    check_graph(ALONE, torch.full((4, 4), float("nan")))  # whether that is right is asked elsewhere


def test_a_file_for_another_batch_than_the_targets_is_refused(tmp_path: Path) -> None:
    runtime, inputs = get_runtime("onnxruntime"), torch.randn(4, 4)
    model = onnx.ModelProto()
    model.CopyFrom(ALONE)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    onnx.save(model, str(tmp_path / "two.onnx"))
    with pytest.raises(MeasurementError, match="takes 2 inputs at a time, not 1"):
        check_file(tmp_path / "two.onnx", runtime, Target("onnxruntime", batch=1), inputs)
    check_file(tmp_path / "two.onnx", runtime, Target("onnxruntime", batch=2), inputs)
