"""ExecuTorch: the seam, and what XNNPACK really runs, read from the file.

It is skipped, with the reason, where it is not installed. All of it is slow: the import of the exporter takes seconds.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from nets import ConcatNet, shaken
from numpy.typing import NDArray
from torch import Tensor, nn

from autocompress.errors import MeasurementError, RuntimeUnavailable
from autocompress.evaluators.runtimes.base import BuildRequest
from autocompress.evaluators.runtimes.executorch import ExecuTorch
from autocompress.spaces.target import Target
from autocompress.studies.models import SmallResNet
from autocompress.testing import RuntimeConformance

pytestmark = pytest.mark.slow
TARGET = Target(runtime="executorch")


class TestExecuTorch(RuntimeConformance):
    def make_runtime(self) -> ExecuTorch:
        return ExecuTorch()

    def sample_artifact(self, folder: Path) -> Path:
        path = folder / "sample.pte"
        self.make_runtime().build(self.sample_student()[0], path)
        return path


class Separable(nn.Sequential):
    """Like a MobileNet: a depthwise convolution between two plain ones, each cut off at six."""

    def __init__(self) -> None:
        super().__init__(
            *(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU6(inplace=True)),
            *(nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False), nn.BatchNorm2d(16), nn.ReLU6(inplace=True)),
            *(nn.Conv2d(16, 32, 1, bias=False), nn.BatchNorm2d(32)),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)),
        )


class FixedBatch(nn.Module):
    """A reshape with numbers: this network takes two images, no more and no fewer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8 * 64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.conv(x)).reshape(2, 8 * 64))  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def runtime() -> ExecuTorch:
    found = ExecuTorch()
    if not found.available().ok:
        pytest.skip(found.available().reason)
    return found


@pytest.fixture(scope="module")
def float_file(runtime: ExecuTorch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A layer or two, in 32 bits: built once, in seconds."""
    path = tmp_path_factory.mktemp("executorch") / "float.pte"
    runtime.build(request_for(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4))), path)
    return path


def request_for(module: nn.Module, batch: int = 1) -> BuildRequest:
    """`module` on its way to a file, in 32 bits, for images of 8 x 8."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for parameter in module.parameters():
            nn.init.normal_(parameter, std=0.2)
        inputs = torch.randn(64, 3, 8, 8)
    names = [name for name, part in module.named_modules() if isinstance(part, (nn.Conv2d, nn.Linear))]
    layers = {name: name for name in names}
    return BuildRequest(None, layers, {}, inputs.numpy(), shaken(module).eval(), batch)


def answers(runtime: ExecuTorch, path: Path, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    loaded = runtime.load(path, TARGET)
    batch = loaded.inputs[0].shape[0]
    assert batch
    return np.concatenate([loaded.run(inputs[i : i + batch]) for i in range(0, len(inputs), batch)])


def error(runtime: ExecuTorch, path: Path, request: BuildRequest) -> float:
    """The largest difference between the file and its student, relative to the largest output."""
    inputs = request.calibration[:8]
    with torch.no_grad():
        expected = torch.cat([request.module(part) for part in torch.from_numpy(inputs).split(request.batch)]).numpy()
    return float(np.abs(answers(runtime, path, inputs) - expected).max() / np.abs(expected).max())


def test_a_file_answers_as_its_student_and_nothing_is_left_outside_of_xnnpack(
    runtime: ExecuTorch, float_file: Path
) -> None:
    """Without its partitioner a program runs in portable kernels, right and a hundred times slower."""
    operators = runtime.inspect(float_file, TARGET)
    assert operators["Conv2d in f32"] == operators["FullyConnected in f32"] == 1
    assert not any("portable" in name for name in operators)
    assert runtime.remark(operators, [32, 32]) == ""
    assert "f32" in runtime.remark(operators, [8, 32])
    assert "portable" in runtime.remark({"aten::convolution in portable kernels": 1}, [32])


def test_a_file_cut_short_is_told_in_one_line(runtime: ExecuTorch, float_file: Path, tmp_path: Path) -> None:
    short = tmp_path / "short.pte"
    short.write_bytes(float_file.read_bytes()[:-1000])
    for verb in (runtime.load, runtime.inspect):
        with pytest.raises(MeasurementError) as caught:
            verb(short, TARGET)
        assert str(short) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_file_whose_weights_are_spoilt_is_told_and_the_terminal_stays_quiet(
    runtime: ExecuTorch, float_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = bytearray(float_file.read_bytes())
    data[60:1500] = bytes(1440)
    spoilt = tmp_path / "spoilt.pte"
    spoilt.write_bytes(data)
    runtime.load(float_file, replace(TARGET, threads=2))
    with pytest.raises(MeasurementError, match=r"spoilt\.pte"):
        runtime.load(spoilt, TARGET)
    assert capfd.readouterr() == ("", "")


def test_another_shape_than_the_file_takes_is_refused(runtime: ExecuTorch, float_file: Path) -> None:
    loaded = runtime.load(float_file, TARGET)
    assert loaded.inputs[0].shape == (1, 3, 8, 8)
    for array in (np.zeros((3, 3, 8, 8), np.float32), np.zeros((1, 3, 8, 8), np.float64)):
        with pytest.raises(MeasurementError, match=r"allowed: float32 \[1, 3, 8, 8\]"):
            loaded.run(array)


def test_an_answer_is_not_overwritten_by_the_next(runtime: ExecuTorch, float_file: Path) -> None:
    loaded = runtime.load(float_file, TARGET)
    inputs = np.random.default_rng(0).standard_normal((2, 1, 3, 8, 8)).astype(np.float32)
    first = loaded.run(inputs[0])
    kept = first.copy()
    loaded.run(inputs[1])
    np.testing.assert_array_equal(first, kept)


def test_a_program_loaded_for_other_threads_is_refused_and_does_not_crash(
    runtime: ExecuTorch, float_file: Path
) -> None:
    """The pool is the process's: setting it frees the one that earlier programs point to."""
    image = np.ones((1, 3, 8, 8), np.float32)
    one = runtime.load(float_file, TARGET)
    expected = one.run(image)
    two = runtime.load(float_file, replace(TARGET, threads=2))
    np.testing.assert_allclose(two.run(image), expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(MeasurementError, match="load it again"):
        one.run(image)
    np.testing.assert_array_equal(runtime.load(float_file, TARGET).run(image), expected)


def test_bits_without_a_form_and_other_devices_are_refused(runtime: ExecuTorch, tmp_path: Path) -> None:
    request = request_for(nn.Sequential(nn.Conv2d(3, 8, 3)))
    with pytest.raises(MeasurementError, match=r"\[4, 16\]"):
        runtime.build(replace(request, bits={"0": 4, "1": 16}), tmp_path / "few.pte")
    with pytest.raises(RuntimeUnavailable, match="allowed: cpu"):
        runtime.capabilities(Target(runtime="executorch", device="cuda"))


def test_every_layer_runs_in_the_bits_of_the_plan(runtime: ExecuTorch, tmp_path: Path) -> None:
    request = request_for(SmallResNet(1, (8, 16, 16), 3, 10, "conv"))
    names = list(request.layers)
    asked = dict.fromkeys(names[: len(names) // 2], 8)
    path = tmp_path / "half.pte"
    runtime.build(replace(request, bits=asked), path)
    operators = runtime.inspect(path, TARGET)
    kinds = ("Conv2d", "FullyConnected", "DepthwiseConv2d")
    for precision, count in (("int8", len(asked)), ("f32", len(names) - len(asked))):
        assert sum(operators.get(f"{kind} in {precision}", 0) for kind in kinds) == count
    assert runtime.remark(operators, [asked.get(name, 32) for name in names]) == ""
    assert runtime.remark(operators, [8] * len(names))
    assert error(runtime, path, request) < 0.1


def test_a_residual_network_in_int8_has_no_borders_inside(runtime: ExecuTorch, tmp_path: Path) -> None:
    """Additions, activations and pooling go with the layers: one quantization at the door, one way back at the end."""
    request = request_for(SmallResNet(1, (8, 16, 16), 3, 10, "conv"))
    before = {name: tensor.clone() for name, tensor in request.module.state_dict().items()}
    path, exact = tmp_path / "int8.pte", tmp_path / "f32.pte"
    runtime.build(replace(request, bits=dict.fromkeys(request.layers, 8)), path)
    runtime.build(request, exact)
    operators = runtime.inspect(path, TARGET)
    assert {name: count for name, count in operators.items() if name.startswith("Convert")} == {
        "Convert in int8": 1,
        "Convert in f32": 1,
    }
    assert operators["Add in int8"] == 3
    assert operators["XnnpackBackend delegate"] == 1
    assert runtime.remark(operators, [8] * len(request.layers)) == ""
    assert error(runtime, path, request) < 0.1
    assert error(runtime, exact, request) < 1e-4
    assert path.stat().st_size < exact.stat().st_size
    assert all(torch.equal(tensor, before[name]) for name, tensor in request.module.state_dict().items())


def test_a_depthwise_network_in_int8_keeps_its_clamps_in_its_layers(runtime: ExecuTorch, tmp_path: Path) -> None:
    request = request_for(Separable())
    path = tmp_path / "separable.pte"
    runtime.build(replace(request, bits=dict.fromkeys(request.layers, 8)), path)
    operators = runtime.inspect(path, TARGET)
    assert operators["DepthwiseConv2d in int8"] == 1
    assert not any(name.startswith("Clamp") for name in operators)
    assert runtime.remark(operators, [8] * len(request.layers)) == ""
    assert error(runtime, path, request) < 0.1


def test_a_norm_behind_a_layer_with_other_readers_is_not_folded_into_it(runtime: ExecuTorch, tmp_path: Path) -> None:
    request = request_for(nn.Sequential(ConcatNet()))
    path = tmp_path / "concat.pte"
    runtime.build(replace(request, bits=dict.fromkeys(request.layers, 8)), path)
    assert error(runtime, path, request) < 0.1


def test_a_network_that_fixes_its_batch_is_built_and_quantized_for_it(runtime: ExecuTorch, tmp_path: Path) -> None:
    request = request_for(FixedBatch(), batch=2)
    path = tmp_path / "fixed.pte"
    runtime.build(replace(request, bits=dict.fromkeys(request.layers, 8)), path)
    assert runtime.load(path, TARGET).inputs[0].shape == (2, 3, 8, 8)
    assert error(runtime, path, request) < 0.1


class Shares(nn.Module):
    """A convolution that runs twice, under two names, and two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.again = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.alias, self.a, self.b, self.head = self.again, nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 10)
        self.b.weight = self.a.weight

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.alias(torch.relu(self.again(torch.relu(self.stem(x) / 8)))))
        return self.head(torch.relu(self.b(torch.relu(self.a(x.mean((2, 3)))))))  # type: ignore[no-any-return]


@pytest.mark.parametrize("chosen", [("stem", "again", "a", "b", "head"), ("a",), ("b", "again")])
def test_layers_that_share_have_the_bits_that_were_asked_of_each(
    runtime: ExecuTorch, tmp_path: Path, chosen: tuple[str, ...]
) -> None:
    layers = {str(i): name for i, name in enumerate(("stem", "again", "again", "a", "b", "head"))}
    request = replace(request_for(Shares()), layers=layers, bits=dict.fromkeys(chosen, 8))
    path = tmp_path / "shares.pte"
    runtime.build(request, path)
    assert runtime.remark(runtime.inspect(path, TARGET), request.widths) == ""
    assert error(runtime, path, request) < 0.05
