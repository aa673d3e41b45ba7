"""Files answer each input alike, alone and with others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from autocompress.compression.student import make_student
from autocompress.evaluators.artifact import ArtifactBuilder, Templates
from autocompress.evaluators.runtimes.registry import get_runtime
from autocompress.evaluators.score import predict
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
        module = make_student(graph, groups, spec).module.eval()
        path = builder.build(module, spec, tmp_path / f"{len(bits)}.onnx").path
        with torch.no_grad():
            expected = module(inputs).numpy()
        for batch in (1, 3, 16):
            got = predict(path, builder.runtime, Target(runtime, batch=batch), inputs.numpy())
            np.testing.assert_allclose(got, expected, atol=0.1 if bits else 1e-5)
