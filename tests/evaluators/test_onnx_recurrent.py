"""Files with recurrent layers in 8 bits: what runs is what was asked for, is smaller, and answers as students do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from autocompress.compression.edits import Parent
from autocompress.compression.fake_quant import FakeQuantizer, fake_quantized_weight
from autocompress.compression.student import make_student
from autocompress.evaluators.artifact import ArtifactBuilder
from autocompress.evaluators.runtimes.onnx_runtime import OnnxRuntime, weight_top
from autocompress.evaluators.runtimes.registry import get_runtime
from autocompress.evaluators.templates import Templates
from autocompress.spaces.graph.capture import capture
from autocompress.spaces.network import look_at_network
from autocompress.spaces.spec import StudentSpec
from autocompress.spaces.target import Target

HERE = Target("onnxruntime")


class Reader(nn.Module):
    """A sequence [N, T, 6], read by recurrent layers, and what is made of its last step."""

    def __init__(self, kind: str, width: int, layers: int = 1, both_ways: bool = False) -> None:
        super().__init__()
        self.steps = nn.Linear(6, 16)
        self.memory = getattr(nn, kind)(16, width, layers, batch_first=True, bidirectional=both_ways)
        self.head = nn.Linear(width * (1 + both_ways), 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.memory(self.steps(x).relu())[0][:, -1])


INPUTS = torch.randn(8, 9, 6, generator=torch.Generator().manual_seed(1))


def made(folder: Path, reader: Reader, runtime: str = "onnxruntime") -> tuple[Parent, ArtifactBuilder]:
    for parameter in reader.parameters():
        parameter.data.mul_(2)
    graph = capture(reader.eval(), INPUTS[:1])
    parent = Parent.of(graph, look_at_network(graph, INPUTS[:1]))
    templates = Templates(graph, INPUTS[:1], parent=parent)
    builder = ArtifactBuilder(get_runtime(runtime), Target(runtime), templates, INPUTS, INPUTS)
    builder.teacher_file(folder / "teacher.onnx")
    return parent, builder


def seeded(kind: str, width: int, layers: int = 1, both_ways: bool = False) -> Reader:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Reader(kind, width, layers, both_ways)


def answers(path: Path, runtime: str = "onnxruntime") -> np.ndarray:
    loaded = get_runtime(runtime).load(path, Target(runtime))
    return np.concatenate([loaded.run(INPUTS[i : i + 1].numpy()) for i in range(len(INPUTS))])


def of_student(module: nn.Module, spec: StudentSpec) -> tuple[np.ndarray, np.ndarray]:
    """What a student answers to one input after the other: in float, and with fake quantization."""
    fake = FakeQuantizer(module, spec.bits, activations=spec.activations, weight_top=weight_top())
    with torch.no_grad():
        plain = module(INPUTS).numpy()
        fake.switch_on()
        rounded = torch.cat([module(INPUTS[i : i + 1]) for i in range(len(INPUTS))]).numpy()
        fake.switch_off()
    return plain, rounded


# the exporter leaves the gates of the wider ones to be put in order while a file is loaded
@pytest.mark.parametrize(("width", "layers", "both_ways"), [(10, 1, False), (72, 2, True)])
def test_lstm_layers_run_in_int8(tmp_path: Path, width: int, layers: int, both_ways: bool) -> None:
    parent, builder = made(tmp_path, seeded("LSTM", width, layers, both_ways))
    spec = StudentSpec(bits={"memory": 8}, activations={"memory": "dynamic"})
    student = make_student(parent, spec).module
    built = builder.build(student, spec, tmp_path / "small.onnx")
    assert built.difference is not None and built.difference < 1e-5
    operators = OnnxRuntime().inspect(built.path, HERE)
    assert operators["DynamicQuantizeLSTM"] == layers and "LSTM" not in operators
    assert OnnxRuntime().remark(operators, built.bits) == ""
    assert OnnxRuntime().remark(operators | {"DynamicQuantizeLSTM": 0}, built.bits)
    plain, rounded = of_student(student, spec)
    got = answers(built.path)
    # training leaves what is remembered alone, which the kernel rounds at each step
    assert np.abs(got - rounded).max() < 0.75 * np.abs(plain - rounded).max() < 0.05 * np.abs(plain).max()
    if width > 50:
        assert built.path.stat().st_size < 0.35 * (tmp_path / "teacher.onnx").stat().st_size


def test_the_kernel_rounds_what_is_read_and_what_is_remembered(tmp_path: Path) -> None:
    reader = seeded("LSTM", 10)
    parent, builder = made(tmp_path, reader)
    spec = StudentSpec(bits={"memory": 8}, activations={"memory": "dynamic"})
    got = answers(builder.build(make_student(parent, spec).module, spec, tmp_path / "small.onnx").path)
    for one, answer in zip(INPUTS, got, strict=True):
        np.testing.assert_allclose(answer, step_by_step(reader, one).numpy(), atol=2e-4)


@torch.no_grad()
def step_by_step(reader: Reader, one: Tensor) -> Tensor:
    memory = reader.memory
    weights = (memory.weight_ih_l0, memory.weight_hh_l0)
    into, over = (fake_quantized_weight(weight, 8, weight_top()) for weight in weights)
    gates = rounded(reader.steps(one).relu()) @ into.T + memory.bias_ih_l0 + memory.bias_hh_l0
    hidden = cell = torch.zeros(10)
    for step in gates:
        enter, forget, new, leave = (step + rounded(hidden) @ over.T).chunk(4)
        cell = forget.sigmoid() * cell + enter.sigmoid() * new.tanh()
        hidden = leave.sigmoid() * cell.tanh()
    return reader.head(hidden)


def rounded(values: Tensor) -> Tensor:
    low, high = values.min().clamp(max=0), values.max().clamp(min=0)
    scale = ((high - low) / 255).clamp_min(1e-12)
    zero = (-low / scale).round()
    return (((values / scale).round() + zero).clamp(0, 255) - zero) * scale


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
def test_weights_that_are_only_stored_in_8_bits_make_a_smaller_file_that_runs_as_before(
    tmp_path: Path, kind: str, runtime: str
) -> None:
    target = Target(runtime)
    if not get_runtime(runtime).available().ok:
        pytest.skip(f"{runtime} is not installed")
    parent, builder = made(tmp_path, seeded(kind, 72), runtime)
    spec = StudentSpec(bits={"memory": 8}, activations={"memory": "float"})
    student = make_student(parent, spec).module
    built = builder.build(student, spec, tmp_path / "small.onnx")
    assert built.path.stat().st_size < 0.4 * (tmp_path / "teacher.onnx").stat().st_size
    np.testing.assert_allclose(answers(built.path, runtime), of_student(student, spec)[1], atol=1e-5)
    before = get_runtime(runtime).inspect(tmp_path / "teacher.onnx", target)
    operators = get_runtime(runtime).inspect(built.path, target)
    assert operators == before, "numbers are made of the codes while the file is loaded, not each time"
    assert get_runtime(runtime).remark(operators, built.bits) == ""


def test_a_narrower_student_has_its_layers_in_8_bits_beside_others(tmp_path: Path) -> None:
    parent, builder = made(tmp_path, seeded("LSTM", 24))
    (group,) = (group for group in parent.groups if any(m.layer == "steps" for m in group.members))
    spec = StudentSpec(
        {group.name: group.channels // 2}, {"memory": 8, "steps": 8, "head": 8}, activations={"memory": "dynamic"}
    )
    student = make_student(parent, spec).module
    built = builder.build(student, spec, tmp_path / "small.onnx")
    operators = OnnxRuntime().inspect(built.path, HERE)
    assert OnnxRuntime().remark(operators, built.bits) == "" and built.bits == (8, 8, 8)
    model = onnx.load(built.path)
    (node,) = (node for node in model.graph.node if node.op_type == "DynamicQuantizeLSTM")
    (weight,) = (each for each in model.graph.initializer if each.name == node.input[1])
    assert list(weight.dims) == [1, group.channels // 2, 96]
    plain, _ = of_student(student, spec)
    got = answers(built.path)
    assert (got * plain).sum() > 0.98 * np.sqrt((got**2).sum() * (plain**2).sum())
