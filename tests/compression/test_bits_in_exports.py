"""Bits in exported files: as many layers have them as were asked for, and no others."""

from __future__ import annotations

from pathlib import Path

import nets
import pytest
import torch
from exported import SLOW, assert_near, student_of
from torch import nn

from autocompress.evaluators.runtimes.base import BuildRequest
from autocompress.evaluators.runtimes.onnx_runtime import OnnxRuntime
from autocompress.spaces.target import Target


def build(name: str, module: nn.Module, bits: dict[str, int], path: Path) -> Path:
    template = nets.template(name)
    calibration = nets.net(name).inputs(64).numpy()
    OnnxRuntime().build(BuildRequest(template.write(module), template.layers, bits, calibration), path)
    return path


def convolutions(name: str) -> list[str]:
    return [layer.name for layer in nets.net(name).context.layers if layer.kind != "linear"]


@pytest.mark.parametrize("name", [*nets.SMALL, *SLOW])
def test_as_many_layers_run_in_int8_as_were_asked_for(name: str, tmp_path: Path) -> None:
    student = student_of(name)
    bits = {layer.name: 8 for layer in nets.net(name).context.layers}
    path = build(name, student, bits, tmp_path / "int8.onnx")
    operators = OnnxRuntime().inspect(path, Target())
    assert operators.get("QLinearConv", 0) == len(convolutions(name))
    assert "Conv" not in operators and "Gemm" not in operators
    asked = [bits[layer] for layer in nets.template(name).layers.values()]
    assert OnnxRuntime().remark(operators, asked) == ""
    inputs = nets.net(name).inputs(8)
    with torch.no_grad():
        expected = student(inputs).numpy()
    got = OnnxRuntime().load(path, Target()).run(inputs.numpy())
    assert_near(got, expected, 0.25)


def test_layers_left_at_32_bits_stay_float(tmp_path: Path) -> None:
    names = convolutions("digits")
    small = {name: 8 for name in names if not name.startswith("layer3")}
    path = build("digits", student_of("digits"), small, tmp_path / "mixed.onnx")
    operators = OnnxRuntime().inspect(path, Target())
    assert operators["QLinearConv"] == len(small)
    assert operators["Conv"] == len(names) - len(small)
    assert operators.get("Gemm", 0) + operators.get("MatMul", 0) == 1


@pytest.mark.parametrize("name", nets.SMALL)
@pytest.mark.parametrize(("width", "part", "near"), [(16, 0.65, 2e-3), (4, 0.35, 0.5)])
def test_stored_bits_make_the_file_smaller_and_change_the_answers_little(
    name: str, width: int, part: float, near: float, tmp_path: Path
) -> None:
    model = nets.net(name).model
    bits = {layer.name: width for layer in nets.net(name).context.layers}
    path = build(name, model, bits, tmp_path / "stored.onnx")
    plain = build(name, model, {}, tmp_path / "plain.onnx")
    assert path.stat().st_size < part * plain.stat().st_size
    inputs = nets.net(name).inputs(4).numpy()
    run = [OnnxRuntime().load(p, Target()).run(inputs) for p in (path, plain)]
    assert_near(run[0], run[1], near)


@pytest.mark.parametrize("width", [16, 8, 4])
def test_building_a_file_leaves_the_graph_it_was_asked_with(width: int, tmp_path: Path) -> None:
    template = nets.template("flatten")
    bits = dict.fromkeys(template.layers.values(), width)
    request = BuildRequest(
        template.write(student_of("flatten")), template.layers, bits, nets.net("flatten").inputs(8).numpy()
    )
    before = request.model.SerializeToString()
    OnnxRuntime().build(request, tmp_path / "m.onnx")
    assert request.model.SerializeToString() == before
