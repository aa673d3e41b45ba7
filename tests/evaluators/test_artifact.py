"""Files of students: built in one place, held against their students, and refused where they differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from structures import STRUCTURES
from torch import Tensor, nn

from autocompress.compression.edits import Parent
from autocompress.compression.student import make_student
from autocompress.errors import ExportError, TrialFailed
from autocompress.evaluators import templates as templates_module
from autocompress.evaluators.artifact import ArtifactBuilder
from autocompress.evaluators.batching import Batching
from autocompress.evaluators.runtimes.base import Availability, BuildRequest
from autocompress.evaluators.runtimes.onnx_runtime import OnnxRuntime
from autocompress.evaluators.runtimes.registry import get_runtime
from autocompress.evaluators.score import PARITY, file_outputs, predict
from autocompress.evaluators.templates import KEPT, Templates
from autocompress.spaces.graph.capture import capture
from autocompress.spaces.groups import Group, find_groups
from autocompress.spaces.layers import find_layers
from autocompress.spaces.spec import StudentSpec
from autocompress.spaces.target import Target


class SmallNet(nn.Module):
    """Two convolutions and a classifier, if asked for with a class token, which fixes the batch of its exports."""

    def __init__(self, token: bool = False) -> None:
        super().__init__()
        self.conv1, self.norm = nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.relu, self.conv2 = nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1)
        self.relu2, self.head = nn.ReLU(), nn.Linear(16, 5)
        self.token = nn.Parameter(torch.ones(1, 16)) if token else None

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm(self.conv1(x)))
        x = self.relu2(self.conv2(x)).mean((2, 3))
        if self.token is not None:
            x = torch.stack([self.token.expand(len(x), -1), x], 1).sum(1)
        return self.head(x)


EXAMPLE = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
INPUTS = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(2))


def small_net(token: bool = False) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = SmallNet(token).eval()
    net.norm.running_mean.uniform_(-0.2, 0.2)
    net.norm.running_var.uniform_(0.5, 1.5)
    return net


@pytest.fixture(scope="module")
def templates() -> Templates:
    return Templates(small_net(), EXAMPLE)


@pytest.fixture(scope="module")
def groups(templates: Templates) -> tuple[Group, ...]:
    layers = find_layers(templates.network, EXAMPLE)
    return find_groups(templates.network, EXAMPLE, {layer.name: layer.depth for layer in layers})[0]


def builder(templates: Templates, runtime: OnnxRuntime | None = None, **target: Any) -> ArtifactBuilder:
    return ArtifactBuilder(runtime or OnnxRuntime(), Target(**target), templates, INPUTS, INPUTS[:4])


def student(templates: Templates, groups: tuple[Group, ...], spec: StudentSpec) -> nn.Module:
    return make_student(Parent(templates.network, groups), spec).module.eval()


def test_the_teachers_file_answers_as_the_teacher_and_stays_where_it_lies(templates: Templates, tmp_path: Path) -> None:
    build, path = builder(templates), tmp_path / "targets" / "teacher.onnx"
    template = build.teacher_file(path)
    assert template is templates.get(1) and build.batching() == Batching(1, True)
    assert build.difference(path, templates.network) <= PARITY
    before = path.stat().st_mtime_ns
    assert builder(templates).teacher_file(path) is template
    assert path.stat().st_mtime_ns == before
    assert [p.name for p in path.parent.iterdir()] == ["teacher.onnx"]


@pytest.mark.parametrize("decided", [True, False])
def test_a_student_is_built_in_32_bits_and_with_its_own(
    templates: Templates, groups: tuple[Group, ...], tmp_path: Path, decided: bool
) -> None:
    build = builder(templates)
    if decided:
        build.teacher_file(tmp_path / "teacher.onnx")
    spec = StudentSpec(channels={groups[0].name: 8})
    small = student(templates, groups, spec)
    built = build.build(small, spec, tmp_path / "float" / "model.onnx")
    assert built.difference is not None and built.difference <= PARITY and set(built.bits) == {32}
    assert build.difference(built.path, small, INPUTS) <= PARITY
    narrow = replace(spec, bits={"conv2": 8})
    int8 = build.build(small, narrow, tmp_path / "int8" / "model.onnx", 4)
    assert sorted(int8.bits) == [8, 32, 32] and int8.difference == built.difference
    assert 0 < build.difference(int8.path, small) < 0.2
    operators = OnnxRuntime().inspect(int8.path, Target())
    assert operators["QLinearConv"] == 1 and not OnnxRuntime().remark(operators, int8.bits)
    assert [p.name for p in int8.path.parent.iterdir()] == ["model.onnx"]


@pytest.mark.parametrize("cls", ["Hardswish", "Identity"])
def test_a_student_with_replaced_modules_goes_through_a_template_of_its_own(
    templates: Templates, groups: tuple[Group, ...], tmp_path: Path, cls: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = StudentSpec(replacements={"relu": cls}, channels={groups[0].name: 8}, bits={"conv2": 8})
    small, build = student(templates, groups, spec), builder(templates)
    build.teacher_file(tmp_path / "teacher.onnx")
    templates.get(1, spec.structure())  # exported now; nothing needs to be afterwards
    monkeypatch.setattr(templates_module, "make_template", None)
    built = build.build(small, replace(spec, bits={}), tmp_path / "model.onnx")
    assert built.difference is not None and built.difference <= PARITY
    assert build.difference(built.path, small, INPUTS) <= PARITY
    assert build.difference(built.path, student(templates, groups, StudentSpec(channels=spec.channels))) > PARITY
    assert 8 in build.build(small, spec, tmp_path / "int8.onnx").bits


class _Wrong(OnnxRuntime):
    """Its files answer something else, unless their weights are what the network's are."""

    def __init__(self, scale: float) -> None:
        self._scale = scale

    def build(self, request: BuildRequest, path: Path) -> None:
        from onnx import numpy_helper

        for weight in request.model.graph.initializer:
            if weight.dims and weight.data_type == 1:
                weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * self._scale, weight.name))
        super().build(request, path)


@pytest.mark.parametrize("scale", [1.5, float("nan")])
def test_a_file_that_answers_something_else_is_refused(templates: Templates, tmp_path: Path, scale: float) -> None:
    build, path = builder(templates, _Wrong(np.float32(scale))), tmp_path / "model.onnx"
    path.write_bytes(b"what was there")
    with pytest.raises(TrialFailed, match="differs from its student by"):
        build.build(templates.network, StudentSpec(bits={"conv2": 8}), path)
    with pytest.raises(ExportError, match="onnxruntime does not run this network right"):
        build.teacher_file(tmp_path / "teacher.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"] and path.read_bytes() == b"what was there"


class _AttentionNet(nn.Module):
    """The exporter splits the joint projection of attention, so its weights cannot be written into a template."""

    def __init__(self) -> None:
        super().__init__()
        self.attention, self.head = nn.MultiheadAttention(16, 2, batch_first=True), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.attention(x, x, x, need_weights=False)[0].mean(1))


def test_what_cannot_be_written_into_a_template_is_exported_on_its_own(tmp_path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net, other = _AttentionNet().eval(), _AttentionNet().eval()
    inputs = torch.randn(4, 6, 16)
    build = ArtifactBuilder(OnnxRuntime(), Target(), Templates(net, inputs[:1]), inputs, inputs)
    build.teacher_file(tmp_path / "teacher.onnx")
    build.build(other, StudentSpec(), tmp_path / "model.onnx")
    for name, module in (("teacher", net), ("model", other)):
        assert build.difference(tmp_path / f"{name}.onnx", module) <= PARITY


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 4])
def test_a_network_that_fixes_its_batch_is_exported_for_the_targets(tmp_path: Path, batch: int) -> None:
    net = small_net(token=True)
    build = builder(Templates(net, EXAMPLE), batch=batch)
    template = build.teacher_file(tmp_path / "teacher.onnx")
    assert template.batch == batch and build.batching() == Batching(batch, False)
    built = build.build(net, StudentSpec(bits={"conv2": 8}), tmp_path / "model.onnx", 2)
    loaded = OnnxRuntime().load(built.path, build.target)
    assert loaded.inputs[0].shape[0] == batch
    scores = predict(tmp_path / "teacher.onnx", OnnxRuntime(), build.target, INPUTS[:7].numpy())
    with torch.no_grad():
        np.testing.assert_allclose(scores, net(INPUTS[:7]).numpy(), atol=1e-4)


class _BuildsOnly(OnnxRuntime):
    def available(self) -> Availability:
        return Availability(False, "no device here", "1", ("cpu",), builds_only=True)

    def load(self, path: Path, target: Target) -> Any:
        raise AssertionError("it cannot run here")


def test_a_runtime_that_only_builds_gets_its_files_unchecked(templates: Templates, tmp_path: Path) -> None:
    build = builder(templates, _BuildsOnly())
    built = build.build(templates.network, StudentSpec(bits={"conv2": 8}), tmp_path / "model.onnx")
    assert built.path.exists() and built.difference is None and 8 in built.bits


def test_an_exact_template_is_not_exported_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = Templates(small_net(), EXAMPLE, exact=True)
    exact.get(1)
    monkeypatch.setattr(templates_module, "make_template", None)
    with pytest.raises(TrialFailed):
        builder(exact, _Wrong(1.5)).build(exact.network, StudentSpec(), tmp_path / "model.onnx")
    assert builder(exact).build(exact.network, StudentSpec(), tmp_path / "model.onnx").difference is not None


def test_the_least_recently_used_templates_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    made: Iterator[int] = iter(range(100))
    monkeypatch.setattr(templates_module, "make_template", lambda *_, **__: next(made))
    found: Any = Templates(small_net(), EXAMPLE)
    first = found.get(1)
    for batch in range(2, KEPT + 1):
        found.get(batch)
    assert found.get(1, StudentSpec()) == first
    # in place of batch 2, which nobody has asked for since
    assert found.get(1, StudentSpec(replacements={"relu": "GELU"})) == KEPT
    assert found.get(1) == first and found.get(3) == 2 and found.get(2) == KEPT + 1


def test_a_split_is_run_in_chunks(templates: Templates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Split:
        def __len__(self) -> int:
            return len(INPUTS)

        def inputs(self, which: slice) -> Tensor:
            seen.append(which)
            return INPUTS[which]

    seen: list[slice] = []
    built = builder(templates).build(templates.network, StudentSpec(), tmp_path / "model.onnx")
    expected = predict(built.path, OnnxRuntime(), Target(), INPUTS.numpy())
    for name, most, largest in (("CHUNK", 5, 5), ("CHUNK_BYTES", 3 * INPUTS[0].nbytes, 3)):
        seen.clear()
        monkeypatch.setattr(f"autocompress.evaluators.score.{name}", most)
        np.testing.assert_array_equal(file_outputs(built.path, OnnxRuntime(), Target(), Split()), expected)
        assert max(len(INPUTS[which]) for which in seen) == largest


@pytest.mark.slow
@pytest.mark.parametrize(("name", "batch"), [("padded", 4), ("attending", 1), ("shuffled", 4), ("scaled", 1)])
def test_the_files_of_odd_networks_answer_as_their_students_at_any_batch(name: str, batch: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    example, inputs = torch.zeros(1, 3, 8, 8), torch.randn(5, 3, 8, 8)
    graph = capture(STRUCTURES[name][0]().eval(), example)
    groups, _ = find_groups(graph, example, {layer.name: layer.depth for layer in find_layers(graph, example)})
    target = Target("onnxruntime", batch=batch)
    builder = ArtifactBuilder(get_runtime("onnxruntime"), target, Templates(graph, example), inputs, inputs)
    builder.teacher_file(tmp_path / "teacher.onnx")
    assert builder.batching().free, "a class token fixes no batch"
    for part in (0.5, 0.8):
        counts = {group.name: next(c for c in group.choices(1, 0.0) if c >= part * group.channels) for group in groups}
        spec = StudentSpec(counts)
        artifact = builder.build(make_student(Parent(graph, groups), spec).module, spec, tmp_path / "student.onnx")
        assert artifact.difference is not None and artifact.difference < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["padded", "attending", "shuffled", "viewed"])
def test_templates_learn_the_numbers_of_students_that_they_could_not_write(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    example, inputs = torch.zeros(1, 3, 8, 8), torch.randn(5, 3, 8, 8)
    graph = capture(STRUCTURES[name][0]().eval(), example)
    groups, _ = find_groups(graph, example, {layer.name: layer.depth for layer in find_layers(graph, example)})
    builder = ArtifactBuilder(OnnxRuntime(), Target(), Templates(graph, example), inputs, inputs)
    builder.teacher_file(tmp_path / "teacher.onnx")
    before, exports = templates_module.make_template, []
    monkeypatch.setattr(templates_module, "make_template", lambda *a, **k: (exports.append(1), before(*a, **k))[1])
    for step in range(6):
        options = {group.name: group.choices(1, 0.0) for group in groups}
        spec = StudentSpec({group: counts[step * 5 % len(counts)] for group, counts in options.items()})
        if step == 3:
            assert 1 <= len(exports) <= 2
            exports.clear()
        built = builder.build(make_student(Parent(graph, groups), spec).module, spec, tmp_path / "student.onnx")
        assert built.difference is not None and built.difference < 1e-5
    assert not exports, "no further student needs one"
