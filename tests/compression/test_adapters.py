"""Adapters: they change nothing before they are trained, stay in files, and nothing else moves with them."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

import nets
import pytest
import torch
from torch import Tensor, nn

from autocompress.compression.adapters import PREFIX, Adapter
from autocompress.compression.distill import Lessons
from autocompress.compression.recover import Recoverer
from autocompress.compression.recovered import load_recovered, read_weights
from autocompress.compression.schedule import Schedule
from autocompress.errors import TrialFailed, UsageError
from autocompress.evaluators.artifact import ArtifactBuilder
from autocompress.evaluators.runtimes.onnx_runtime import OnnxRuntime
from autocompress.evaluators.score import PARITY
from autocompress.evaluators.templates import Templates
from autocompress.search.prepare.space import lay_context
from autocompress.spaces.network import look_at_network
from autocompress.spaces.spec import PLAIN, Recovery, StudentSpec
from autocompress.spaces.target import Target
from autocompress.studies.data.images import ImageData
from autocompress.studies.study_file import StudyFile

CPU = torch.device("cpu")
ADAPTED = Recovery(tune="adapters", rank=4)
NET = nets.net("digits")
HALF = replace(NET.spec(channels=0.5), recovery=ADAPTED, bits={})


def adapters_of(module: nn.Module) -> dict[str, Adapter]:
    return {name: part for name, part in module.named_modules() if isinstance(part, Adapter)}


def moved(module: nn.Module) -> nn.Module:
    """The same network with adapters that do something."""
    generator = torch.Generator().manual_seed(0)
    for part in adapters_of(module).values():
        with torch.no_grad():
            part.up.weight.copy_(0.3 * torch.randn(part.up.weight.shape, generator=generator))
    return module


@pytest.mark.parametrize("dropped", [(), (NET.context.blocks[0].name,)])
def test_a_student_with_adapters_answers_as_without_before_it_is_taught(dropped: tuple[str, ...]) -> None:
    spec = replace(HALF, dropped=dropped)
    with_adapters, without = NET.student(spec), NET.student(replace(spec, recovery=Recovery()))
    inputs = NET.inputs(4)
    assert torch.equal(with_adapters.module.eval()(inputs), without.module.eval()(inputs))
    assert len(adapters_of(with_adapters.module)) == len(NET.context.blocks) - len(dropped)
    assert not torch.equal(moved(with_adapters.module)(inputs), without.module(inputs))
    again = NET.student(spec).module.state_dict()
    assert all(torch.equal(value, again[name]) for name, value in NET.student(spec).module.state_dict().items())


@pytest.mark.parametrize("bits", [32, 8])
def test_its_file_holds_them(bits: int, tmp_path: Path) -> None:
    dropped = (NET.context.blocks[0].name,)
    spec = replace(HALF, dropped=dropped, bits={})
    student = moved(NET.student(spec).module.eval())
    layers = [layer.name for layer in NET.context.layers if student_has(student, layer.name)]
    inputs = NET.inputs(8)
    build = ArtifactBuilder(
        OnnxRuntime(), Target(), Templates(NET.model, NET.example, parent=NET.parent), inputs, inputs
    )
    built = build.build(
        student, replace(spec, bits=dict.fromkeys(layers, bits) if bits < 32 else {}), tmp_path / "f.onnx"
    )
    assert set(built.bits) == {bits, 32}, "adapters stay in float"
    assert build.difference(built.path, student) < (PARITY if bits == 32 else 0.3)


def student_has(student: nn.Module, name: str) -> bool:
    return name in dict(student.named_modules())


def test_adapters_norms_biases_and_the_last_layer_move_and_nothing_else(tmp_path: Path) -> None:
    images = torch.randn(40, *NET.example.shape[1:], generator=torch.Generator().manual_seed(1))
    last = NET.context.layers[-1].name
    teach = Recoverer(
        ImageData(images, torch.arange(40) % 10),
        Lessons(NET.model, last, CPU),
        Schedule(2.0, (0.5, 1.0), batch_size=8),
        CPU,
        contextlib.nullcontext,
    )
    before = {name: value.clone() for name, value in NET.student(HALF).module.named_parameters()}
    path = tmp_path / "c.pt"
    for rung in (0, 1):
        teach.recover(NET.student(HALF), HALF, rung, path, lambda: False)
    after = read_weights(path)
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    heavy = {name for name in changed if before[name].ndim > 1 and not name.startswith((PREFIX, last))}
    assert not heavy
    assert {name for name in before if name.startswith(PREFIX) and name.endswith("up.weight")} <= changed
    loaded = load_recovered(NET.student(HALF), HALF, path).module
    assert all(torch.equal(value, after[name]) for name, value in loaded.state_dict().items())


def test_they_are_part_of_what_is_measured_and_other_ways_are_not() -> None:
    wide, other = replace(HALF, recovery=replace(ADAPTED, rank=8)), replace(HALF, recovery=Recovery(tune="lora"))
    assert len({HALF.shape_key(), wide.shape_key(), other.shape_key()}) == 3
    assert other.shape_key() == replace(HALF, recovery=None).shape_key()
    assert HALF.structure() != wide.structure() and other.structure() == PLAIN
    warmer = replace(HALF, recovery=replace(ADAPTED, temperature=2.0))
    assert warmer.structure() == HALF.structure() and warmer.shape_key() == HALF.shape_key()
    assert HALF.changes_network and HALF.training_key() != warmer.training_key()


def test_a_network_without_shortcuts_has_no_place_for_them() -> None:
    net = nets.net("flatten")
    with pytest.raises(TrialFailed, match="no place for adapters"):
        net.student(StudentSpec(recovery=ADAPTED))
    settings = StudyFile().changed("recovery", ways=("full", "adapters"))
    with pytest.raises(UsageError, match="the network has none: remove it"):
        lay_context(look_at_network(net.model, net.example), settings)


def test_in_a_transformer_they_lie_in_attention_and_in_the_feed_forward_part() -> None:
    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Linear(8, 16)
            self.norm1, self.up, self.down = nn.LayerNorm(16), nn.Linear(16, 32), nn.Linear(32, 16)
            self.norm2, self.up2, self.down2 = nn.LayerNorm(16), nn.Linear(16, 32), nn.Linear(32, 16)
            self.head = nn.Linear(16, 5)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            x = x + self.down(torch.relu(self.up(self.norm1(x))))
            x = x + self.down2(torch.relu(self.up2(self.norm2(x))))
            return self.head(x)

    from autocompress.compression.edits import Parent, edited
    from autocompress.spaces.graph.capture import capture

    example = torch.randn(1, 4, 8)
    captured = capture(Encoder().eval(), example)
    parent = Parent.of(captured, look_at_network(captured, example))
    made, _ = edited(parent, StudentSpec(recovery=ADAPTED))
    assert len(adapters_of(made)) == 2
    torch.testing.assert_close(made(example), captured(example))
