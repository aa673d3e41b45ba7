"""Files of students with factored layers: they hold what the students are, and none of them is exported by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nets
import pytest
import torch
from encoders import TOKENS, Encoder, unlike
from torch import nn

from autocompress.compression.edits import Parent
from autocompress.compression.student import make_student
from autocompress.evaluators import templates as room
from autocompress.evaluators.artifact import ArtifactBuilder
from autocompress.evaluators.runtimes.onnx_runtime import OnnxRuntime
from autocompress.evaluators.score import PARITY
from autocompress.evaluators.templates import Templates
from autocompress.spaces.axes.factors import FactorsAxis
from autocompress.spaces.context import SpaceContext
from autocompress.spaces.factors import Factor
from autocompress.spaces.graph.capture import capture
from autocompress.spaces.inputs import Inputs, rows_of
from autocompress.spaces.network import look_at_network
from autocompress.spaces.plan import Plan
from autocompress.spaces.space import Space
from autocompress.spaces.spec import Pattern, StudentSpec
from autocompress.spaces.target import Target

IMAGES = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class Mixed(nn.Module):
    """Layers of every kind, with and without biases, norms and strides; one layer runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32)
        self.plain, self.point = nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.Conv2d(64, 48, 1, stride=2, bias=False)
        self.norm2, self.twice = nn.BatchNorm2d(48), nn.Linear(48, 48, bias=False)
        self.up, self.down, self.head = nn.Linear(48, 160), nn.Linear(160, 48), nn.Linear(48, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.plain(self.norm(self.stem(x)).relu())
        x = self.norm2(self.point(x)).relu().flatten(2).transpose(1, 2)
        x = x + self.twice(self.twice(x))
        x = x + self.down(self.up(x).relu())
        return self.head(x.mean(1))


def captured(network: nn.Module, inputs: Inputs) -> tuple[Parent, SpaceContext]:
    graph = capture(nets.shaken(network).eval(), rows_of(inputs, slice(0, 1)))
    found = look_at_network(graph, rows_of(inputs, slice(0, 1)))
    context = SpaceContext(found.layers, found.groups, nets.CAPABILITIES, found.modules, axes=("factors",))
    return Parent.of(graph, found), replace(context, blocks=found.blocks)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], Inputs]] = {
    "mixed": (Mixed, IMAGES),
    "encoder": (lambda: unlike(Encoder(False)), TOKENS),
    "flatten": (nets.NETS["flatten"][0], IMAGES),
    "concat": (nets.NETS["concat"][0], IMAGES),
}


def count_exports(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let exports be counted; each appends to the list."""
    exports: list[int] = []
    make = room.make_template

    def counted(*args: object, **kwargs: object) -> object:
        exports.append(1)
        return make(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(room, "make_template", counted)
    return exports


@pytest.mark.parametrize("name", NETWORKS)
def test_files_hold_what_their_students_are_without_another_export(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, inputs = NETWORKS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        parent, context = captured(make(), inputs)
    exports = count_exports(monkeypatch)
    templates = Templates(parent.module, rows_of(inputs, slice(0, 1)), parent=parent)
    builder = ArtifactBuilder(OnnxRuntime(), Target(), templates, inputs, inputs)
    builder.teacher_file(tmp_path / "teacher.onnx")
    kinds = {"conv": Factor("separable"), "linear": Factor("rank", 16), "pointwise": Factor("rank", 8)}
    every = {layer.name: kinds[layer.kind] for layer in context.layers if min(layer.shape[:2]) > 4}
    halves = {group.name: max(1, group.channels // 2 // group.blocks) * group.blocks for group in context.groups}
    narrow = StudentSpec(halves)  # which shows what numbers in the graph are, where it has any
    builder.build(make_student(parent, narrow).module, narrow, tmp_path / "narrow.onnx")
    before = len(exports)
    some = dict(list(every.items())[::2])
    specs = [StudentSpec(factors=every), StudentSpec(halves, factors=some)]
    specs += [replace(specs[1], factors={n: replace(f, rank=f.rank // 2) for n, f in some.items()})]
    specs += [StudentSpec(halves, factors=some, dropped=(b.name,)) for b in context.blocks[:1]]
    for i, spec in enumerate(specs):
        gone = {layer for block in context.blocks if block.name in spec.dropped for layer in block.layers}
        spec = replace(spec, factors={n: f for n, f in spec.factors.items() if n not in gone})
        module = make_student(parent, spec).module
        built = builder.build(module, spec, tmp_path / f"{i}.onnx")
        assert built.difference is not None and built.difference <= PARITY
        small = replace(spec, bits={layer.name: 8 for layer in context.layers if layer.name not in gone})
        built = builder.build(module, small, tmp_path / f"{i}-8.onnx")
        assert set(built.bits) == {8} and len(built.bits) >= len(context.layers) - len(gone) + len(spec.factors)
    assert len(exports) == before, "all files were written into the graph of the network"


def test_a_layer_whose_weight_something_else_reads_is_exported_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Tied(nn.Module):
        """Like a language model: the last layer has the weight of the embedding."""

        def __init__(self) -> None:
            super().__init__()
            self.words, self.mid, self.head = nn.Embedding(40, 32), nn.Linear(32, 32), nn.Linear(32, 40, bias=False)
            self.head.weight = self.words.weight

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return self.head(self.mid(self.words(tokens)).relu())

    tokens = torch.randint(0, 40, (4, 6), generator=torch.Generator().manual_seed(0))
    parent, context = captured(Tied(), tokens)
    if not any(layer.name == "head" for layer in context.layers):
        pytest.skip("the tied layer is no layer of this capture")
    exports = count_exports(monkeypatch)
    templates = Templates(parent.module, tokens[:1], parent=parent)
    builder = ArtifactBuilder(OnnxRuntime(), Target(), templates, tokens, tokens)
    builder.teacher_file(tmp_path / "teacher.onnx")
    before = len(exports)
    spec = StudentSpec(factors={"head": Factor("rank", 8)})
    module = make_student(parent, spec).module
    built = builder.build(module, spec, tmp_path / "model.onnx")
    assert built.difference is not None and built.difference <= PARITY and len(exports) > before
    assert torch.equal(module.get_parameter("words.weight"), parent.module.get_parameter("words.weight"))


def test_zeros_in_factored_layers_are_in_their_files(tmp_path: Path) -> None:
    import onnx
    from onnx import numpy_helper

    net = nets.net("flatten")
    spec = StudentSpec(factors={"linear1": Factor("rank", 16)}, patterns={"linear1": Pattern("unstructured", 0.5)})
    templates = Templates(net.model, net.example, parent=net.parent)
    builder = ArtifactBuilder(OnnxRuntime(), Target(), templates, net.inputs(4), net.inputs(4))
    builder.teacher_file(tmp_path / "teacher.onnx")
    builder.build(net.student(spec).module, spec, tmp_path / "model.onnx")
    graph = onnx.load(tmp_path / "model.onnx").graph
    zeros = {i.name: float((numpy_helper.to_array(i) == 0).mean()) for i in graph.initializer if "linear1" in i.name}
    assert [zeros[f"linear1.{part}.weight"] for part in (0, 1)] == pytest.approx([0.5, 0.5], abs=0.02)


def test_plans_of_the_axis_go_through_a_file(tmp_path: Path) -> None:
    net = nets.net("flatten")
    space = Space(replace(net.context, axes=("factors",)), [FactorsAxis()])
    spec = space.spec(Plan({v.name: v.options[-1] for v in space.network}))
    assert spec.factors
    builder = ArtifactBuilder(
        OnnxRuntime(), Target(), Templates(net.model, net.example, parent=net.parent), net.inputs(4), net.inputs(4)
    )
    builder.teacher_file(tmp_path / "teacher.onnx")
    built = builder.build(net.student(spec).module, spec, tmp_path / "model.onnx")
    assert built.difference is not None and built.difference <= PARITY
    assert (tmp_path / "model.onnx").stat().st_size < (tmp_path / "teacher.onnx").stat().st_size
