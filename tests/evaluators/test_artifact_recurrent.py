"""Files of networks with recurrent layers: any batch, whatever their state; students need no exports of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from autocompress.compression.edits import Parent
from autocompress.compression.student import make_student
from autocompress.evaluators import templates as templates_module
from autocompress.evaluators.artifact import ArtifactBuilder
from autocompress.evaluators.runtimes.onnx_runtime import OnnxRuntime
from autocompress.evaluators.runtimes.registry import get_runtime
from autocompress.evaluators.templates import Templates
from autocompress.spaces.graph.capture import capture
from autocompress.spaces.groups import find_groups
from autocompress.spaces.layers import find_layers
from autocompress.spaces.spec import StudentSpec
from autocompress.spaces.target import Capabilities, Target

EXAMPLE = torch.zeros(1, 3, 10)


class Recurrent(nn.Module):
    """Convolutions over time, a recurrent layer, and a classifier."""

    def __init__(self, kind: str, layers: int, both_ways: bool, first: bool, own_state: bool) -> None:
        super().__init__()
        self.state = (layers * (1 + both_ways), 12) if own_state else None
        self.conv, self.again = nn.Conv1d(3, 16, 3, padding=1), nn.Conv1d(16, 16, 3, padding=1)
        self.cell = getattr(nn, kind)(16, 12, layers, batch_first=first, bidirectional=both_ways)
        self.inner, self.head = nn.Linear(12 * (1 + both_ways), 24), nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        steps = self.again(self.conv(x).relu()).relu().transpose(1, 2)
        steps = steps if self.cell.batch_first else steps.transpose(0, 1)
        if self.state is None:
            read = self.cell(steps)[0]
        else:
            zeros = torch.zeros(self.state[0], len(x), self.state[1])
            read = self.cell(steps, (zeros, zeros) if isinstance(self.cell, nn.LSTM) else zeros)[0]
        return self.head(self.inner(read[:, -1] if self.cell.batch_first else read[-1]).relu())


@pytest.mark.parametrize(
    ("kind", "layers", "both_ways", "first", "own_state"),
    [
        ("GRU", 1, False, True, False),
        pytest.param("LSTM", 1, False, True, True, marks=pytest.mark.slow),
        pytest.param("LSTM", 2, True, False, False, marks=pytest.mark.slow),
        pytest.param("RNN", 2, True, True, True, marks=pytest.mark.slow),
    ],
)
def test_files_with_recurrent_layers_take_any_batch_and_students_are_written_into_one_template(
    kind: str,
    layers: int,
    both_ways: bool,
    first: bool,
    own_state: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net, inputs = Recurrent(kind, layers, both_ways, first, own_state).eval(), torch.randn(12, 3, 10)
    graph = capture(net, EXAMPLE)
    groups, _ = find_groups(graph, EXAMPLE, {layer.name: layer.depth for layer in find_layers(graph, EXAMPLE)})
    assert {"conv", "inner"} <= {group.name for group in groups}
    builder = ArtifactBuilder(OnnxRuntime(), Target(), Templates(graph, EXAMPLE), inputs, inputs)
    builder.teacher_file(tmp_path / "teacher.onnx")
    assert builder.batching().free
    monkeypatch.setattr(templates_module, "make_template", None)
    bits = dict.fromkeys(("conv", "again", "inner", "head"), 8)
    for part in (1, 4):
        spec = StudentSpec({group.name: group.channels // part for group in groups})
        student = make_student(Parent(graph, groups), spec).module
        with torch.no_grad():
            for parameter in student.parameters():  # as after training
                parameter.mul_(1.25)
        plain = builder.build(student, spec, tmp_path / "plain.onnx")
        assert plain.difference is not None and plain.difference < 1e-5
        small = builder.build(student, StudentSpec(spec.channels, bits=bits), tmp_path / "int8.onnx")
        loaded = [OnnxRuntime().load(path, builder.target) for path in (plain.path, small.path)]
        for batch in (1, 3, 4):
            with torch.no_grad():
                expected = student(inputs[:batch]).numpy()
            np.testing.assert_allclose(loaded[0].run(inputs[:batch].numpy()), expected, atol=1e-5)
            got = loaded[1].run(inputs[:batch].numpy())
            assert (got * expected).sum() > 0.98 * np.sqrt((got**2).sum() * (expected**2).sum())
        operators = OnnxRuntime().inspect(small.path, builder.target)
        assert operators["QLinearConv"] == 2 and not OnnxRuntime().remark(operators, small.bits)


def test_a_state_of_another_batch_harms_nothing_when_a_network_is_captured() -> None:
    net = Recurrent("LSTM", 1, False, True, own_state=True).eval()
    graph = capture(net, EXAMPLE)
    with torch.no_grad():
        for batch in (1, 3):
            inputs = torch.randn(batch, 3, 10)
            torch.testing.assert_close(graph(inputs), net(inputs))


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_layers_that_openvino_stores_in_8_bits_beside_int8_ones_answer_as_before(kind: str, tmp_path: Path) -> None:
    runtime, target = get_runtime("openvino"), Target("openvino")
    if not runtime.available().ok:
        pytest.skip(runtime.available().reason)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net, inputs = Recurrent(kind, 1, False, True, False).eval(), torch.randn(12, 3, 10)
    graph = capture(net, EXAMPLE)
    builder = ArtifactBuilder(runtime, target, Templates(graph, EXAMPLE), inputs, inputs)
    for others in ("again", "head"):  # before the layer, and behind it
        spec = StudentSpec(bits={"cell": 8, others: 8}, activations={"cell": "float"})
        built = builder.build(graph, spec, tmp_path / f"{others}.onnx")
        loaded = runtime.load(built.path, target)
        got = np.concatenate([loaded.run(row.numpy()) for row in inputs.split(1)])
        with torch.no_grad():
            expected = net(inputs).numpy()
        assert np.abs(got - expected).max() < 0.05 * np.abs(expected).max()


class Storing(OnnxRuntime):
    """A runtime that stores LSTM layers in 8 bits, and runs them in float."""

    def capabilities(self, target: Target) -> Capabilities:
        return Capabilities((32, 8), (), 8, recurrent={"lstm": {8: ("float",)}})


def test_a_student_of_two_targets_has_the_form_of_each_in_its_file(tmp_path: Path) -> None:
    graph = capture(Recurrent("LSTM", 1, False, True, False).eval(), EXAMPLE)
    templates, inputs = Templates(graph, EXAMPLE), torch.randn(12, 3, 10)
    spec = StudentSpec(bits={"cell": 8}, activations={"cell": "dynamic"})
    for runtime, operator, widths in ((OnnxRuntime(), "DynamicQuantizeLSTM", 5), (Storing(), "LSTM", 4)):
        if "dynamic" not in runtime.capabilities(Target()).recurrent["lstm"][8] and widths == 5:
            pytest.skip("ONNX Runtime has no kernel for int8 on this CPU")
        builder = ArtifactBuilder(runtime, Target(), templates, inputs, inputs)
        built = builder.build(graph, spec, tmp_path / f"{operator}.onnx")
        operators = runtime.inspect(built.path, builder.target)
        assert [name for name in operators if "LSTM" in name] == [operator]
        assert len(built.bits) == widths and not runtime.remark(operators, built.bits)
