"""A search keeps many templates at a time: none of them holds the weights that each student brings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nets
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from autocompress.compression.edits import Parent
from autocompress.compression.export import make_template
from autocompress.compression.student import make_student
from autocompress.compression.template_cut import cut_template
from autocompress.evaluators.artifact import ArtifactBuilder
from autocompress.evaluators.kept_templates import kept_template
from autocompress.evaluators.runtimes.onnx_runtime import OnnxRuntime
from autocompress.evaluators.score import PARITY
from autocompress.evaluators.templates import Templates
from autocompress.spaces.factors import Factor
from autocompress.spaces.graph.capture import capture
from autocompress.spaces.network import look_at_network
from autocompress.spaces.spec import StudentSpec
from autocompress.spaces.target import Target

EXAMPLE = torch.zeros(1, 3, 8, 8)


class Wide(nn.Module):
    """Two blocks with large layers, a norm that is folded, and a recurrent layer whose gates files have otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 64, 3, padding=1), nn.BatchNorm2d(64)
        self.up, self.down = nn.Linear(64, 256), nn.Linear(256, 64)
        self.wide, self.back = nn.Linear(64, 256), nn.Linear(256, 64)
        self.memory, self.head = nn.GRU(64, 64, batch_first=True), nn.Linear(64, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.stem(x)).relu().flatten(2).transpose(1, 2)
        x = x + self.down(self.up(x).relu())
        x = x + self.back(self.wide(x).relu())
        return self.head(self.memory(x)[0].mean(1))


@pytest.fixture(scope="module")
def parent() -> Parent:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        graph = capture(nets.shaken(Wide()).eval(), EXAMPLE)
    return Parent.of(graph, look_at_network(graph, EXAMPLE))


def bytes_of(network: nn.Module) -> int:
    return sum(parameter.numel() * 4 for parameter in network.parameters())


def held_bytes(model: Any) -> int:
    return sum(len(i.raw_data) + 4 * len(i.float_data) for i in model.graph.initializer)


def test_no_template_of_a_search_holds_weights(parent: Parent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the exported one, nor one read back, nor what is made of these; files of their students have all."""
    monkeypatch.setenv("AUTOCOMPRESS_CACHE", str(tmp_path / "cache"))
    first = parent.blocks[0]
    factors = {"wide": Factor("rank", 16)}
    specs = (StudentSpec(), StudentSpec(dropped=(first.name,)), StudentSpec(dropped=(first.name,), factors=factors))
    inputs = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    for which in ("exported", "read"):
        templates = Templates(parent.module, EXAMPLE, parent=parent)
        builder = ArtifactBuilder(OnnxRuntime(), Target(), templates, inputs, inputs)
        builder.teacher_file(tmp_path / f"{which}.onnx")
        for spec in specs:
            student = make_student(parent, spec).module
            path = tmp_path / f"{which}-student.onnx"
            built = builder.build(student, spec, path)
            assert built.difference is not None and built.difference <= PARITY
            template = templates.get(builder.batching().batch, spec.structure())
            assert held_bytes(template.model) < 0.01 * bytes_of(student), (which, spec)
            assert path.stat().st_size > bytes_of(student)


def test_an_exact_template_has_the_weights_of_its_network(parent: Parent) -> None:
    exact = make_template(parent.module, EXAMPLE, exact=True)
    assert held_bytes(exact.model) > 0.9 * bytes_of(parent.module)


def test_what_is_cut_out_of_a_template_that_was_read_is_as_of_one_just_made(
    parent: Parent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights that are still to come are no constants that students would have to have too."""
    monkeypatch.setenv("AUTOCOMPRESS_CACHE", str(tmp_path))
    made = make_template(parent.module, EXAMPLE)
    kept_template(parent.module, EXAMPLE, how="", make=lambda: made)
    read = kept_template(parent.module, EXAMPLE, how="", make=pytest.fail)
    gone = [parent.blocks[0]]
    student = make_student(parent, StudentSpec(dropped=(gone[0].name,))).module
    of_made, of_read = (cut_template(whole, student, gone) for whole in (made, read))
    assert of_made is not None and of_read is not None
    assert of_read.own == of_made.own and of_read.write(student) == of_made.write(student)
    vectors = [i for i in of_made.write(student).graph.initializer if len(i.dims) == 1 and i.raw_data]
    assert any(np.frombuffer(i.raw_data, np.float32).any() for i in vectors)
