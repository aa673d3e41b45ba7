"""Students without some blocks: their weights, their files, where they start, and what dropping does to answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nets
import pytest
import torch
from torch import Tensor, nn

from autocompress.compression.edits import Parent
from autocompress.compression.losses import categorical_divergence
from autocompress.compression.sensitivity import measure_sensitivity
from autocompress.compression.student import make_student
from autocompress.compression.warm_start import distance, warm_parent
from autocompress.errors import TrialFailed
from autocompress.evaluators import templates as room
from autocompress.evaluators.artifact import ArtifactBuilder
from autocompress.evaluators.runtimes.onnx_runtime import OnnxRuntime
from autocompress.evaluators.score import PARITY
from autocompress.evaluators.templates import Templates
from autocompress.spaces.graph.capture import capture
from autocompress.spaces.layers import kind_of
from autocompress.spaces.network import look_at_network
from autocompress.spaces.plan import Plan
from autocompress.spaces.spec import Recovery, StudentSpec
from autocompress.spaces.target import Target

GONE = ("layer1.0", "layer2.1")


class Encoder(nn.Module):
    """A layer of an encoder, with norms in front."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(8, 16)
        self.norm1, self.up, self.down = nn.LayerNorm(16), nn.Linear(16, 32), nn.Linear(32, 16)
        self.norm2, self.up2, self.down2 = nn.LayerNorm(16), nn.Linear(16, 32), nn.Linear(32, 16)
        self.act, self.last, self.head = nn.GELU(), nn.LayerNorm(16), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.down(self.act(self.up(self.norm1(x))))
        x = x + self.down2(self.act(self.up2(self.norm2(x))))
        return self.head(self.last(x))


def trained(module: nn.Module) -> dict[str, Tensor]:
    with torch.no_grad():
        for tensor in module.state_dict().values():
            tensor.add_(1 if tensor.is_floating_point() else 5)
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def test_a_narrow_student_without_blocks_has_the_teachers_weights_in_what_is_left() -> None:
    net = nets.net("cifar_resnet20")
    narrow = replace(net.spec(channels=0.5), recovery=None, bits={})
    whole, cut = net.student(narrow), net.student(replace(narrow, dropped=GONE))
    state, left = whole.module.state_dict(), cut.module.state_dict()
    assert state.keys() - left.keys() == {name for name in state if name.startswith(GONE)}
    assert all(torch.equal(state[name], value) for name, value in left.items())
    assert cut.stayed_inputs.keys() == {name for name in whole.stayed_inputs if not name.startswith(GONE)}
    assert cut.module(net.inputs(3)).shape == (3, 10)


def test_a_block_that_the_network_does_not_have_is_named() -> None:
    with pytest.raises(TrialFailed, match=r"block layer9 cannot be dropped"):
        nets.net("digits").student(StudentSpec(dropped=("layer9",)))


@pytest.mark.parametrize("name", ["digits", "cifar_resnet20"])
def test_its_file_holds_what_it_is(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = nets.net(name)
    narrow = replace(net.spec(channels=0.5), recovery=None, bits={}, dropped=GONE)
    templates = Templates(net.model, net.example, parent=net.parent)
    inputs = net.inputs(8)
    build = ArtifactBuilder(OnnxRuntime(), Target(), templates, inputs, inputs)
    build.teacher_file(tmp_path / "teacher.onnx")
    if name == "digits":  # the sizes of all of its operators follow by themselves
        monkeypatch.setattr(room, "make_template", None)
    student = net.student(narrow).module.eval()
    built = build.build(student, narrow, tmp_path / "float.onnx")
    assert built.difference is not None and built.difference <= PARITY
    layers = [part for part in student.modules() if kind_of(part)]
    assert len(built.bits) == len(layers)
    last = [layer.name for layer in net.context.layers if not layer.name.startswith(GONE)]
    int8 = build.build(student, replace(narrow, bits=dict.fromkeys(last, 8)), tmp_path / "int8.onnx")
    assert set(int8.bits) == {8} and build.difference(int8.path, student) < 0.3
    assert int8.path.stat().st_size < built.path.stat().st_size


def test_a_student_goes_on_where_one_of_another_depth_ended() -> None:
    net = nets.net("digits")
    half = replace(net.spec(channels=0.5), bits={}, recovery=Recovery(), dropped=("layer1.1",))
    neighbour = net.student(half)
    state = trained(neighbour.module)
    taught = warm_parent(net.parent, half, state)
    again = make_student(taught, half)
    assert all(torch.equal(value, state[name]) for name, value in again.module.state_dict().items())
    assert again.module.state_dict().keys() == state.keys()
    deeper = make_student(taught, replace(half, dropped=())).module.state_dict()
    untaught = net.student(replace(half, dropped=())).module.state_dict()
    assert deeper.keys() - state.keys()
    for name, value in deeper.items():
        assert torch.equal(value, state[name] if name in state else untaught[name]), name
    shallower = make_student(taught, replace(half, dropped=("layer1.1", "layer2.1"))).module.state_dict()
    assert shallower.keys() < state.keys()
    assert all(torch.equal(value, state[name]) for name, value in shallower.items())


def test_students_of_other_depths_are_further_apart() -> None:
    net = nets.net("cifar_resnet20")
    groups, blocks = net.context.groups, net.context.blocks
    plain, one, two = StudentSpec(), StudentSpec(dropped=GONE[:1]), StudentSpec(dropped=GONE)
    assert distance(one, one, groups, blocks) == 0
    assert 0 < distance(plain, one, groups, blocks) < distance(plain, two, groups, blocks)
    assert (
        distance(one, two, groups, blocks) == distance(two, one, groups, blocks) < distance(plain, two, groups, blocks)
    )


def kl(teacher: nn.Module, student: nn.Module, inputs: Tensor) -> float:
    with torch.no_grad():
        return float(categorical_divergence(student(inputs).double(), teacher(inputs).double(), 1.0).mean())


def test_sensitivity_is_what_dropping_a_block_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """An activation that all blocks share, and norms in front of layers, are where a tape could play the wrong call."""
    monkeypatch.setattr("autocompress.compression.precision._cpu_has_fast_bf16", lambda: False)
    torch.manual_seed(0)
    inputs = torch.randn(16, 8)
    graph = capture(Encoder().eval(), inputs[:1])
    found = look_at_network(graph, inputs[:1])
    assert len(found.blocks) == 2
    context = replace(nets.net("digits").context, layers=found.layers, groups=(), blocks=found.blocks, keep=frozenset())
    space = nets.space_over(context, "depth")
    (variable,) = space.of("depth")
    measured = measure_sensitivity(graph, space, inputs)
    student = make_student(Parent(graph, (), found.blocks), StudentSpec(dropped=(variable.subject,))).module
    (figure,) = measured.rows[variable.name]
    assert figure.option == "dropped" and figure.nats > 1e-5
    assert figure.nats == pytest.approx(kl(graph, student.eval(), inputs), rel=1e-3)


def test_blocks_are_ranked_by_what_dropping_them_does() -> None:
    net = nets.net("digits")
    space = nets.space_over(net.context, "depth", "channels")
    measured = measure_sensitivity(net.model, space, net.inputs(8)).of(space)
    depth = [measured[v.name] for v in space.of("depth")]
    assert len(depth) == 3 and all(row[0] == 0 < row[1] for row in depth)
    assert space.spec(Plan({v.name: "dropped" for v in space.of("depth")})).dropped == (
        "layer1.0",
        "layer1.1",
        "layer2.1",
    )
