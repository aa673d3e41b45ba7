"""PyTorch's files of 16 bits: networks that have a say in formats themselves run, and answer nearly as in 32 bits."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from autocompress.evaluators.runtimes.base import BuildRequest
from autocompress.evaluators.runtimes.pytorch import PyTorch
from autocompress.spaces.graph.capture import capture
from autocompress.spaces.target import Target

LOWEST = torch.finfo(torch.float32).min


class Recurrent(nn.Module):
    """Its first state is made in float32, whatever its inputs are in."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.fc = nn.LSTM(8, 32, batch_first=True), nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.lstm(x)[0][:, -1])  # type: ignore[no-any-return]


class RootMeanSquare(nn.Module):
    """A norm whose statistics are taken in float32."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.w = nn.Linear(8, 32), nn.Linear(32, 5), nn.Parameter(torch.ones(32))

    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x)
        wide = h.to(torch.float32)
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)
        return self.b(self.w * wide.to(h.dtype))  # type: ignore[no-any-return]


class Masked(nn.Module):
    """Attention with positions beyond 256, which bfloat16 cannot count, and a query that may look at nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(8, 16), nn.Linear(16, 5)
        self.register_buffer("frequency", torch.linspace(0.05, 1.5, 16))
        self.register_buffer("never", torch.zeros(400, 400).index_fill(0, torch.tensor([3]), LOWEST))

    def forward(self, x: Tensor) -> Tensor:
        angles = torch.arange(x.shape[1]).float()[:, None] * self.frequency
        h = self.a(x) + angles.sin()
        scores = (h @ h.transpose(1, 2) / math.sqrt(16)).masked_fill(torch.ones(400, 400).triu(1).bool(), LOWEST)
        weights = torch.softmax(scores + self.never, -1, dtype=torch.float32).type_as(h)
        return self.b((weights @ h)[:, ::50].mean(1))  # type: ignore[no-any-return]


class Writing(nn.Module):
    """It writes parts of its result, in a tensor of its own, and has an operator without a kernel for bfloat16."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(8, 16), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x)
        out = torch.zeros(x.shape[0], 16)
        out[:, :8] = h[:, 8:]
        out[:, 8:] += torch.fft.rfft(h, dim=-1).abs()[:, :8]
        return self.b(out)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("network", "shape"),
    [(Recurrent, (6, 8)), (RootMeanSquare, (8,)), (Masked, (400, 8)), (Writing, (8,))],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_a_network_that_says_float32_itself_answers_nearly_the_same_in_16_bits(
    tmp_path: Path, network: Callable[[], nn.Module], shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    inputs = torch.randn(4, *shape)
    graph = capture(network().eval(), inputs[:1])
    with torch.no_grad():
        expected = graph(inputs).numpy()
    runtime, path = PyTorch(), tmp_path / "half.pt2"
    runtime.build(BuildRequest(None, {"n": "fc"}, {"fc": 16}, inputs.numpy(), graph), path)
    answers = runtime.load(path, Target("pytorch")).run(inputs.numpy())
    assert answers.dtype == np.float32
    np.testing.assert_allclose(answers, expected, atol=0.03 * abs(expected).max())


def test_most_of_such_a_network_is_computed_in_16_bits(tmp_path: Path) -> None:
    torch.manual_seed(0)
    inputs = torch.randn(4, 8)
    graph = capture(RootMeanSquare().eval(), inputs[:1])
    path = tmp_path / "half.pt2"
    PyTorch().build(BuildRequest(None, {"n": "b"}, {"b": 16}, inputs.numpy(), graph), path)
    program = torch.export.load(path)
    kinds = {n.meta["val"].dtype for n in program.graph.nodes if "linear" in str(n.target) and n.op == "call_function"}
    statistics = {n.meta["val"].dtype for n in program.graph.nodes if "mean" in str(n.target)}
    assert kinds == {torch.bfloat16}
    assert statistics == {torch.float32}
    assert {value.dtype for value in program.state_dict.values()} == {torch.bfloat16}
