"""LiteRT: the seam, and the precision of every layer, read from the file. Skipped, with the reason, where not there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nets import net
from torch import nn

from autocompress.errors import MeasurementError
from autocompress.evaluators.runtimes.base import BuildRequest
from autocompress.evaluators.runtimes.litert import LiteRt
from autocompress.spaces.target import Target
from autocompress.testing import RuntimeConformance

TARGET = Target(runtime="litert")
RUNTIME = LiteRt()
"""One for all tests: it keeps the last conversion, which takes seconds."""
needed = pytest.mark.skipif(not RUNTIME.available().ok, reason=RUNTIME.available().reason or "available")


@pytest.mark.slow
class TestLiteRt(RuntimeConformance):
    target = TARGET

    def make_runtime(self) -> LiteRt:
        return RUNTIME

    def sample_artifact(self, folder: Path) -> Path:
        path = folder / "sample.tflite"
        self.make_runtime().build(self.sample_student()[0], path)
        return path


def _request(name: str, bits: Mapping[str, int] | None = None) -> BuildRequest:
    """A network of nets.py on its way to a file, calibrated on 64 random inputs."""
    found = net(name)
    layers = {layer.name: layer.name for layer in found.space.context.layers}
    return BuildRequest(None, layers, bits or {}, found.inputs(64).numpy(), found.model)


def _off(path: Path, name: str) -> float:
    """The largest difference between a file and its network over 8 inputs, relative to the largest output."""
    inputs = net(name).inputs(8)
    with torch.no_grad():
        expected = net(name).model(inputs).numpy()
    loaded = RUNTIME.load(path, TARGET)
    got = np.concatenate([loaded.run(one[None]) for one in inputs.numpy()])
    return float(np.abs(got - expected).max() / np.abs(expected).max())


def _layer_types(path: Path) -> dict[str, tuple[str, str]]:
    """Layer name -> the types of its operator's input and of its stored weight, read from the file itself."""
    from ai_edge_litert.schema_py_generated import TensorType

    from autocompress.evaluators.runtimes.litert_convert import WEIGHTED, Graph

    graph = Graph(path.read_bytes())
    words = {number: word.lower() for word, number in vars(TensorType).items() if isinstance(number, int)}
    makers = {tensor: op for op in graph.operators for tensor in op.outputs}
    found = {}
    for op, kind in zip(graph.operators, graph.kinds, strict=True):
        if kind in WEIGHTED:
            stored = makers[op.inputs[1]].inputs[0] if op.inputs[1] in makers else op.inputs[1]
            types = tuple(words[graph.tensors[t].type] for t in (op.inputs[0], stored))
            found[graph.tensors[op.outputs[0]].name.decode()] = types
    return found  # type: ignore[return-value]


@needed
@pytest.mark.slow
def test_each_layer_has_the_bits_of_the_plan(tmp_path: Path) -> None:
    asked = {"stem": 8, "grow1": 8, "grow2": 16}
    path = tmp_path / "mixed.tflite"
    RUNTIME.build(_request("concat", asked), path)
    assert _layer_types(path) == {
        "stem": ("int8", "int8"),
        "grow1": ("int8", "int8"),
        "grow2": ("float32", "float16"),
        "head": ("float32", "float32"),
    }
    operators = RUNTIME.inspect(path, TARGET)
    assert RUNTIME.remark(operators, [8, 8, 16, 32]) == ""
    assert "1 were asked for" in RUNTIME.remark(operators, [8, 32, 16, 32])
    assert _off(path, "concat") < 0.1


@needed
@pytest.mark.slow
def test_layers_of_equal_shape_are_told_apart(tmp_path: Path) -> None:
    torch.manual_seed(0)
    chain = nn.Sequential(*(nn.Conv2d(8, 8, 3, padding=1) for _ in range(5))).eval()
    inputs = torch.randn(16, 8, 6, 6).numpy()
    layers = {str(i): str(i) for i in range(5)}
    for wanted in ("1", "3"):
        path = tmp_path / f"{wanted}.tflite"
        RUNTIME.build(BuildRequest(None, layers, {wanted: 8}, inputs, chain), path)
        assert [name for name, types in _layer_types(path).items() if types == ("int8", "int8")] == [wanted]


@needed
@pytest.mark.slow
def test_a_residual_network_is_one_int8_region(tmp_path: Path) -> None:
    request = _request("digits")
    path, plain = tmp_path / "int8.tflite", tmp_path / "float.tflite"
    RUNTIME.build(request, plain)
    RUNTIME.build(replace(request, bits=dict.fromkeys(request.layers, 8)), path)
    operators = RUNTIME.inspect(path, TARGET)
    kinds = {kind: count for kind, count in operators.items() if kind.startswith(("QUANTIZE", "DEQUANTIZE"))}
    assert sum(kinds.values()) == 2  # into the region and out of it
    assert RUNTIME.remark(operators, [8] * len(request.layers)) == ""
    assert operators["XNNPACK partition"] == 1
    assert _off(plain, "digits") < 1e-4
    assert _off(path, "digits") < 0.1
    assert path.stat().st_size < plain.stat().st_size / 3


@needed
@pytest.mark.slow
def test_depthwise_layers_run_in_int8_and_are_stored_as_float16(tmp_path: Path) -> None:
    request = _request("mobilenet_v2")
    for bits, near in ((8, 0.15), (16, 0.01)):
        path = tmp_path / f"{bits}.tflite"
        RUNTIME.build(replace(request, bits=dict.fromkeys(request.layers, bits)), path)
        operators = RUNTIME.inspect(path, TARGET)
        assert RUNTIME.remark(operators, [bits] * len(request.layers)) == ""
        assert not [kind for kind in operators if kind.endswith("outside XNNPACK")]
        assert _off(path, "mobilenet_v2") < near


@needed
@pytest.mark.slow
@pytest.mark.parametrize("name", ["grouped", "flatten", "cifar_resnet20"])
def test_the_batch_is_free_and_every_image_has_its_own_answer(name: str, tmp_path: Path) -> None:
    request = _request(name)
    path = tmp_path / "free.tflite"
    for bits in ({}, dict.fromkeys(request.layers, 8)):
        RUNTIME.build(replace(request, bits=bits), path)
        loaded = RUNTIME.load(path, replace(TARGET, batch=2))
        assert loaded.inputs[0].shape[0] is None
        inputs = net(name).inputs(3).numpy()
        together = loaded.run(inputs)
        alone = np.concatenate([loaded.run(one[None]) for one in inputs])
        np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-4 * float(np.abs(alone).max()))


class _Token(nn.Module):
    """A class token fixes the batch when it is exported."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.head = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 5)
        self.token = nn.Parameter(torch.randn(1, 1, 8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.cat([self.token.expand(len(x), -1, -1), self.patch(x).flatten(2).transpose(1, 2)], 1)
        return self.head(x.mean(1))


@needed
@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 4])
def test_a_network_that_fixes_its_batch_is_built_for_it(batch: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    student, inputs = _Token().eval(), torch.randn(6, 3, 8, 8)
    path = tmp_path / "token.tflite"
    layers = {"patch": "patch", "head": "head"}
    for bits in ({}, {"patch": 8, "head": 8}):
        RUNTIME.build(BuildRequest(None, layers, bits, inputs.numpy(), student, batch), path)
        loaded = RUNTIME.load(path, replace(TARGET, batch=batch))
        assert loaded.inputs[0].shape == (batch, 3, 8, 8)
        expected = student(inputs[:batch]).detach().numpy()
        assert np.abs(loaded.run(inputs[:batch].numpy()) - expected).max() < (0.1 if bits else 1e-4)
        with pytest.raises(MeasurementError, match=r"token\.tflite"):
            loaded.run(inputs[: batch + 1].numpy())


@needed
@pytest.mark.slow
def test_building_leaves_the_student_as_it_was(tmp_path: Path) -> None:
    request = _request("grouped")
    before = {name: tensor.clone() for name, tensor in request.module.state_dict().items()}
    RUNTIME.build(request, tmp_path / "m.tflite")
    after = request.module.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


@needed
@pytest.mark.slow
def test_new_weights_make_a_new_file(tmp_path: Path) -> None:
    """One conversion serves the float and the int8 file of a student, but no longer than its weights stay."""
    student, inputs = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 3)).eval(), torch.randn(8, 3, 4, 4)
    request = BuildRequest(None, {"0": "0", "2": "2"}, {}, inputs.numpy(), student)
    for _ in range(2):
        with torch.no_grad():
            student[2].bias += 1
            expected = student(inputs[:1]).numpy()
        RUNTIME.build(request, tmp_path / "m.tflite")
        np.testing.assert_allclose(RUNTIME.load(tmp_path / "m.tflite", TARGET).run(inputs[:1].numpy()), expected, 1e-4)


@needed
@pytest.mark.slow
def test_what_has_no_form_is_refused_in_one_line(tmp_path: Path) -> None:
    request = RuntimeConformance().sample_student()[0]
    wrong: list[Any] = [
        replace(request, bits={"0": 4}),
        replace(request, module=None),
        replace(request, bits={"no such layer": 8}),
    ]
    for one in wrong:
        with pytest.raises(MeasurementError) as caught:
            RUNTIME.build(one, tmp_path / "m.tflite")
        assert "m.tflite" in str(caught.value)
        assert "\n" not in str(caught.value)


@needed
def test_a_file_cut_short_is_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "cut.tflite"
    RUNTIME.build(RuntimeConformance().sample_student()[0], path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(MeasurementError) as caught:
        RUNTIME.load(path, TARGET)
    assert "cut.tflite" in str(caught.value)
    assert "\n" not in str(caught.value)


@needed
def test_a_timing_process_imports_no_torch_and_nothing_is_printed(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    RUNTIME.build(RuntimeConformance().sample_student()[0], path)
    code = (
        "import sys; from pathlib import Path\n"
        "from autocompress.evaluators.runtimes.litert import LiteRt\n"
        "from autocompress.spaces.target import Target\n"
        "assert LiteRt().available().ok\n"
        f"LiteRt().load(Path({str(path)!r}), Target())\n"
        "assert not {'torch', 'jax', 'litert_torch', 'ai_edge_quantizer'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout + done.stderr == ""


@needed
@pytest.mark.slow
def test_a_build_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    request = RuntimeConformance().sample_student()[0]
    LiteRt().build(replace(request, bits=dict.fromkeys(request.layers.values(), 8)), tmp_path / "m.tflite")
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""
