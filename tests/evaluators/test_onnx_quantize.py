"""int8 files of ONNX Runtime: whatever lies between the layers, a file is built, and it answers as the float one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autocompress.compression.export import Template, make_template
from autocompress.evaluators.runtimes import onnx_quantize
from autocompress.evaluators.runtimes.base import BuildRequest
from autocompress.evaluators.runtimes.onnx_calibrate import activation_ranges
from autocompress.evaluators.runtimes.onnx_quantize import quantize
from autocompress.evaluators.runtimes.onnx_runtime import OnnxRuntime, weight_top
from autocompress.spaces.target import Target


class Around(nn.Module):
    """Convolutions around what is to be tried, and a classifier."""

    def __init__(self, middle: nn.Module, width: int = 16) -> None:
        super().__init__()
        self.before, self.middle, self.after = nn.Conv2d(3, 16, 3, padding=1), middle, nn.Conv2d(width, 24, 3)
        self.head = nn.Linear(24, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.after(self.middle(self.before(x))).relu().mean((2, 3)))


class Does(nn.Module):
    def __init__(self, function: Callable[[Any, Tensor], Tensor], **parts: Any) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


class Read(nn.Module):
    """Reads a sequence [N, 3, T], whose steps are convolved first."""

    def __init__(self, reader: nn.Module, width: int) -> None:
        super().__init__()
        self.steps, self.reader, self.inner = nn.Conv1d(3, 16, 3, padding=1), reader, nn.Linear(width, 24)
        self.head = nn.Linear(24, 8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.steps(x).relu().transpose(1, 2)
        read = self.reader(x)
        return self.head(self.inner((read[0] if isinstance(read, tuple) else read)[:, -1]).relu())


def _squeezed(own: Any, x: Tensor) -> Tensor:
    return x * own.up(own.down(x.mean((2, 3), keepdim=True)).relu()).sigmoid()


def _attended(own: Any, x: Tensor) -> Tensor:
    return own.attention(x, x, x, need_weights=False)[0]


def _channels_last(own: Any, x: Tensor) -> Tensor:
    return own.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def _embedded(own: Any, x: Tensor) -> Tensor:
    return own.words(x.abs().mul(3).long().clamp(max=9)[:, 0]).transpose(1, 2)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "group norm": lambda: Around(nn.Sequential(nn.GroupNorm(4, 16), nn.ReLU())),
    "group norm and a convolution without bias": lambda: Around(
        nn.Sequential(nn.GroupNorm(4, 16), nn.SiLU(), nn.Conv2d(16, 16, 1, bias=False))
    ),
    "group norm first": lambda: nn.Sequential(nn.GroupNorm(1, 3), Around(nn.GroupNorm(2, 16))),
    "instance norm": lambda: Around(nn.InstanceNorm2d(16, affine=True)),
    "layer norm of channels": lambda: Around(Does(_channels_last, norm=nn.LayerNorm(16))),
    "layer norm of images": lambda: Around(nn.LayerNorm([16, 8, 8])),
    "squeeze and excitation": lambda: Around(Does(_squeezed, down=nn.Conv2d(16, 4, 1), up=nn.Conv2d(4, 16, 1))),
    "softmax": lambda: Around(nn.Softmax(1)),
    "einsum": lambda: Around(
        Does(lambda own, x: torch.einsum("nchw,cd->ndhw", x, own.mix), mix=nn.Parameter(torch.randn(16, 16) / 4))
    ),
    "gather": lambda: Around(Does(lambda _, x: x[:, torch.tensor([3, 0, 2, 1] * 4)])),
    "where": lambda: Around(Does(lambda _, x: torch.where(x > 0, x, x * 0.1))),
    "normalized": lambda: Around(Does(lambda _, x: F.normalize(x, dim=1))),
    "gru": lambda: Read(nn.GRU(16, 20, batch_first=True), 20),
    "lstm": lambda: Read(nn.LSTM(16, 20, 2, batch_first=True, bidirectional=True), 40),
    "attention": lambda: Read(Does(_attended, attention=nn.MultiheadAttention(16, 2, batch_first=True)), 16),
    "transformer": lambda: Read(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 16),
    "embedding": lambda: nn.Sequential(
        Does(_embedded, words=nn.Embedding(10, 3)), Read(nn.GRU(16, 8, batch_first=True), 8)
    ),
}


def made(name: str) -> tuple[Template, Any, np.ndarray[Any, Any]]:
    """The template of a network, its graph, and inputs."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = NETWORKS[name]().eval()
        flat = any(isinstance(module, Read) for module in net.modules())
        inputs = torch.randn(64, *((3, 12) if flat else (3, 8, 8)))
    template = make_template(net, inputs[:2], exact=True, symbolic_batch=True)
    return template, template.write(net), inputs.numpy()


def answers(model: Any, inputs: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: inputs})[0]


def alike(got: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> float:
    """The cosine of what differs from input to input: biases are alike whatever happens."""
    one, other = got - expected.mean(0), expected - expected.mean(0)
    return float((one * other).sum() / np.sqrt((one**2).sum() * (other**2).sum()))


def remark(model: Any, path: Path, asked: int) -> str:
    path.write_bytes(model.SerializeToString())
    return OnnxRuntime().remark(OnnxRuntime().inspect(path, Target()), [8] * asked)


NEAR = {"softmax": 0.85, "lstm": 0.95}
"""Where little differs from input to input, and so little is left of it beside the steps of 8 bits."""
QUICK = ("group norm", "layer norm of images", "where", "gru")


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in NETWORKS])
def test_whatever_lies_between_the_layers_they_run_in_int8(name: str, tmp_path: Path) -> None:
    template, model, inputs = made(name)
    small = quantize(
        model, template.layers, dict.fromkeys(template.layers.values(), 8), inputs, weight_top=weight_top()
    )
    assert remark(small, tmp_path / "int8.onnx", len(template.layers)) == ""
    assert alike(answers(small, inputs), answers(model, inputs)) > NEAR.get(name, 0.98)


@pytest.mark.parametrize("name", [n if n == "gru" else pytest.param(n, marks=pytest.mark.slow) for n in NETWORKS])
def test_ranges_by_another_method_do_for_whatever_lies_between(name: str, tmp_path: Path) -> None:
    template, model, inputs = made(name)
    bits = dict.fromkeys(template.layers.values(), 8)
    found = activation_ranges(BuildRequest(model, template.layers, bits, inputs), ["percentile-99.99"])
    small = quantize(model, template.layers, bits, inputs, found["percentile-99.99"], weight_top=weight_top())
    assert remark(small, tmp_path / "int8.onnx", len(template.layers)) == ""
    assert alike(answers(small, inputs), answers(model, inputs)) > NEAR.get(name, 0.98) - 0.02


@pytest.mark.slow
@pytest.mark.parametrize("name", ["group norm", "layer norm of images", "attention", "gru"])
def test_a_single_layer_behind_a_norm_runs_in_int8(name: str, tmp_path: Path) -> None:
    template, model, inputs = made(name)
    for layer in template.layers.values():
        small = quantize(model, template.layers, {layer: 8}, inputs, weight_top=weight_top())
        assert remark(small, tmp_path / "int8.onnx", 1) == ""
        assert alike(answers(small, inputs), answers(model, inputs)) > 0.98


def test_a_layer_that_cannot_be_quantized_stays_in_float_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    template, model, inputs = made("squeeze and excitation")
    bits = dict.fromkeys(template.layers.values(), 8)
    before, refused = onnx_quantize._int8, []

    def refuses(model: Any, excluded: list[str], *rest: Any) -> Any:
        wrong = {n for n, layer in template.layers.items() if layer in ("middle.down", "head")} - set(excluded)
        refused.append(wrong)
        if wrong:
            raise ValueError("no scale")
        return before(model, excluded, *rest)

    monkeypatch.setattr(onnx_quantize, "_int8", refuses)
    small = quantize(model, template.layers, bits, inputs, weight_top=weight_top())
    assert remark(small, tmp_path / "int8.onnx", len(bits)) == "3 layers run in int8, 5 were asked for"
    assert len(refused) < 12 and not refused[-1]
    assert alike(answers(small, inputs), answers(model, inputs)) > 0.98
    assert quantize(model, template.layers, {"head": 8}, inputs, weight_top=weight_top()) is model


def test_calibration_inputs_that_the_graph_does_not_take_are_no_reason_to_stay_in_float() -> None:
    template, model, inputs = made("group norm")
    with pytest.raises(Exception, match="input"):
        quantize(model, template.layers, {"head": 8}, inputs[:, :2], weight_top=weight_top())


class Masked(nn.Module):
    """Attention that leaves out what is filled up."""

    def __init__(self, least: float) -> None:
        super().__init__()
        self.least, self.first = least, nn.Linear(16, 32)
        self.query, self.key, self.value, self.head = (nn.Linear(32, 32) for _ in range(4))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = self.first(x)
        scores = self.query(x) @ self.key(x).transpose(1, 2) / 32**0.5
        scores = scores + torch.where(mask, 0.0, self.least).unsqueeze(1)
        return self.head(scores.softmax(-1) @ self.value(x)).mean(1)


@pytest.mark.parametrize("least", [-float("inf"), -3.4e38, -1e9, -10.0])
def test_a_mask_does_not_take_the_steps_of_eight_bits_for_itself(least: float) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = Masked(least).eval()
        inputs, mask = torch.randn(64, 9, 16), torch.rand(64, 9) < 0.7
    mask[:, 0] = True
    template = make_template(net, (inputs[:2], mask[:2]), exact=True, symbolic_batch=True)
    model, given = template.write(net), (inputs.numpy(), mask.numpy())
    small = quantize(model, template.layers, dict.fromkeys(template.layers.values(), 8), given, weight_top=weight_top())
    with torch.no_grad():
        expected = net(inputs, mask).numpy()
    names = [value.name for value in small.graph.input]
    session = onnxruntime.InferenceSession(small.SerializeToString(), providers=["CPUExecutionProvider"])
    got = session.run(None, dict(zip(names, given, strict=True)))[0]
    assert alike(got, expected) > 0.98
