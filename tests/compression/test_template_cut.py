"""Templates that are cut: the file of a student without blocks is the one that an export of its own would give."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nets
import numpy as np
import onnxruntime
import pytest
import torch
from encoders import TOKENS, Encoder, unlike
from torch import nn
from torchvision import models

from autocompress.compression.edits import Parent, edited
from autocompress.compression.export import Template, make_template
from autocompress.compression.student import make_student
from autocompress.compression.template_cut import cut_template
from autocompress.evaluators.artifact import ArtifactBuilder
from autocompress.evaluators.runtimes.onnx_runtime import OnnxRuntime
from autocompress.evaluators.score import PARITY
from autocompress.evaluators.templates import Templates
from autocompress.spaces.graph.block import Block
from autocompress.spaces.graph.capture import capture
from autocompress.spaces.inputs import Inputs, call, rows_of, tensors_of
from autocompress.spaces.network import look_at_network
from autocompress.spaces.spec import StudentSpec
from autocompress.spaces.target import Target


class Stages(nn.Module):
    """Blocks without norms: what goes into each stage is what a convolution gives."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.down = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 16, 3, stride=2)
        self.one, self.two = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1)
        self.last, self.head = nn.Conv2d(16, 16, 1), nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = self.down(x + self.one(x.relu()))
        x = x + self.two(x.relu())
        return self.head((x + self.last(x.sigmoid())).mean((2, 3)))


IMAGES = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
NETWORKS: dict[str, tuple[Callable[[], nn.Module], Inputs, int]] = {
    "stages": (Stages, IMAGES[..., :8, :8], 3),
    "norms first": (lambda: unlike(Encoder(True)), TOKENS, 6),
    "norms last": (lambda: unlike(Encoder(False)), TOKENS, 6),
    "resnet": (lambda: nets.shaken(nets.NETS["cifar_resnet20"][0]()), IMAGES, 7),
    "mobilenet": (lambda: nets.shaken(models.mobilenet_v2(weights=None, num_classes=5)), IMAGES, 10),
    "regnet": (lambda: nets.shaken(models.regnet_y_400mf(weights=None, num_classes=5)), IMAGES, 12),
    "convnext": (lambda: models.convnext_tiny(weights=None, num_classes=5), IMAGES, 18),
}
QUICK = ("stages", "norms first", "norms last", "resnet")


def answers(template: Template, student: nn.Module, inputs: Inputs) -> np.ndarray:
    session = onnxruntime.InferenceSession(template.write(student).SerializeToString())
    names = [given.name for given in session.get_inputs()]
    given = dict(zip(names, (part.numpy() for part in tensors_of(inputs)), strict=True))
    return np.asarray(session.run(None, given)[0])


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in NETWORKS])
def test_a_cut_graph_computes_what_the_student_does(name: str) -> None:
    make, inputs, count = NETWORKS[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        graph = capture(make().eval(), rows_of(inputs, slice(0, 1)))
    blocks = look_at_network(graph, rows_of(inputs, slice(0, 1))).blocks
    assert len(blocks) == count
    whole = make_template(graph, inputs)
    for gone in ([blocks[0]], blocks[1::2], blocks[:-1], blocks[len(blocks) // 2 :]):
        spec = StudentSpec(dropped=tuple(block.name for block in gone))
        student = edited(Parent(graph, blocks=blocks), spec)[0].eval()
        cut = cut_template(whole, student, list(gone))
        assert cut is not None
        with torch.no_grad():
            expected = call(student, inputs).numpy()
        assert np.abs(answers(cut, student, inputs) - expected).max() < 1e-4 * max(1.0, np.abs(expected).max())
        assert len(cut.model.graph.node) < len(whole.model.graph.node)
        lost = {layer for block in gone for layer in block.layers}
        assert set(cut.layers.values()) == set(whole.layers.values()) - lost


def test_what_is_not_found_in_the_graph_is_exported_by_itself(tmp_path: Path) -> None:
    net = nets.net("digits")
    odd = tuple(Block(b.name, b.entry, b.exit, b.layers, b.role, b.depth) for b in net.context.blocks)
    whole = nets.template("digits")
    assert cut_template(whole, net.model, [Block("odd", "", "", (odd[0].layers[0],), "block", 0.0)]) is None
    templates = Templates(net.model, net.example, parent=net.parent)
    structure = StudentSpec(dropped=(odd[0].name,))
    assert not templates.export_anew(1, StudentSpec())
    cut = templates.get(1, structure)
    assert templates.export_anew(1, structure) and not templates.export_anew(1, structure)
    own = templates.get(1, structure)
    assert own.own.numbers == cut.own.numbers and sorted(own.layers.values()) == sorted(cut.layers.values())


def test_a_cut_that_does_not_answer_right_is_replaced_by_an_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from autocompress.evaluators import templates as room

    net = nets.net("digits")
    spec = StudentSpec(dropped=("layer1.0",))

    def wrong(whole: Template, network: nn.Module, blocks: object) -> Template | None:
        other = [block for block in net.context.blocks if block.name == "layer1.1"]
        return cut_template(whole, network, other)

    monkeypatch.setattr(room, "cut_template", wrong)
    templates = Templates(net.model, net.example, parent=net.parent)
    build = ArtifactBuilder(OnnxRuntime(), Target(), templates, net.inputs(4), net.inputs(4))
    build.teacher_file(tmp_path / "teacher.onnx")
    built = build.build(make_student(net.parent, spec).module, spec, tmp_path / "model.onnx")
    assert built.difference is not None and built.difference <= PARITY
