"""Files of networks that read masks, positions and indices: buffers of truth values and whole numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto
from torch import Tensor, nn

from autocompress.compression.edits import Parent
from autocompress.compression.student import make_student
from autocompress.evaluators import templates as room
from autocompress.evaluators.artifact import ArtifactBuilder
from autocompress.evaluators.runtimes.onnx_runtime import OnnxRuntime
from autocompress.evaluators.score import PARITY
from autocompress.evaluators.templates import Templates
from autocompress.spaces.graph.capture import capture
from autocompress.spaces.network import look_at_network
from autocompress.spaces.spec import StudentSpec
from autocompress.spaces.target import Target

STEPS = 96
"""Steps by steps are more numbers than an exporter folds into constants, which it does up to 8,192."""
TOKENS = torch.randint(0, 20, (4, STEPS), generator=torch.Generator().manual_seed(0))
FAR = float("-inf")

HIDDEN: dict[str, tuple[Callable[[nn.Module, Tensor], Tensor], str]] = {
    "filled": (lambda own, scores: scores.masked_fill(own.later, FAR), "later"),
    "chosen": (lambda own, scores: torch.where(own.later, -1e4, scores), "later"),
    "behind operators": (lambda own, scores: scores.masked_fill(~own.seen[:, :, : scores.shape[2]], FAR), "seen"),
    "compared": (lambda own, scores: scores.masked_fill(own.apart > STEPS - 1, FAR), "apart"),
}
"""How a causal mask is read, and the buffer that it is read from."""


class Attends(nn.Module):
    """Causal attention with a bias for each distance, which is looked up by whole numbers."""

    def __init__(self, hide: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.hide = hide
        self.words, self.near = nn.Embedding(20, 16), nn.Embedding(2 * STEPS - 1, 2)
        self.query, self.key, self.value = (nn.Linear(16, 16) for _ in range(3))
        self.up, self.down, self.head = nn.Linear(16, 32), nn.Linear(32, 16), nn.Linear(16, 5)
        later = torch.ones(STEPS, STEPS, dtype=torch.bool).triu(1)
        self.register_buffer("later", later)
        self.register_buffer("seen", ~later[None, None])
        self.register_buffer("steps", torch.arange(STEPS))
        self.register_buffer("apart", self.steps - self.steps.unsqueeze(1) + STEPS - 1)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.words(tokens)
        query, key, value = (
            part(x).unflatten(-1, (2, 8)).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        scores = query @ key.transpose(2, 3) / 3 + self.near(self.apart).permute(2, 0, 1)
        x = x + (self.hide(self, scores).softmax(-1) @ value).transpose(1, 2).flatten(2)
        return self.head((x + self.down(self.up(x).relu())).mean(1))


@pytest.mark.parametrize("hidden", HIDDEN)
def test_files_hold_masks_and_positions_as_what_they_are_in_any_batch(
    hidden: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        hide, mask = HIDDEN[hidden]
        graph = capture(Attends(hide).eval(), TOKENS[:1])
    found = look_at_network(graph, TOKENS[:1])
    exports: list[int] = []
    make = room.make_template
    monkeypatch.setattr(room, "make_template", lambda *a, **k: (exports.append(1), make(*a, **k))[1])
    builder = ArtifactBuilder(OnnxRuntime(), Target(batch=2), Templates(graph, TOKENS[:1]), TOKENS, TOKENS)
    builder.teacher_file(tmp_path / "teacher.onnx")
    held = {i.name: i.data_type for i in onnx.load(tmp_path / "teacher.onnx").graph.initializer}
    assert held["apart"] == TensorProto.INT64
    assert held[mask] == (TensorProto.INT64 if mask == "apart" else TensorProto.BOOL)
    before = len(exports)
    narrow = {group.name: group.channels // 2 for group in found.groups if group.name == "up"}
    assert narrow, "channels are lost beside the buffers"
    for bits in ({}, {"up": 8, "query": 8}):
        spec = StudentSpec(narrow, bits)
        built = builder.build(make_student(Parent.of(graph, found), spec).module, spec, tmp_path / "student.onnx")
        assert built.difference is not None and built.difference <= PARITY
    assert builder.batching().free, "files take any batch"
    assert len(exports) == before, "the student was written into the graph of the network"
