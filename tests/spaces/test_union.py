"""One space over several networks: a plan has one of them, and decides about nothing of the others."""

from __future__ import annotations

import functools
from collections import OrderedDict
from dataclasses import replace

import nets
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from autocompress.spaces.axes.base import Axis
from autocompress.spaces.axes.bits import BitsAxis, regions
from autocompress.spaces.axes.channels import ChannelsAxis
from autocompress.spaces.axes.depth import DepthAxis
from autocompress.spaces.axes.patterns import PatternAxis
from autocompress.spaces.axes.recovery import RecoveryAxis
from autocompress.spaces.axes.size import SizeAxis
from autocompress.spaces.axes.student import StudentAxis
from autocompress.spaces.axes.width import WidthAxis
from autocompress.spaces.context import SpaceContext
from autocompress.spaces.graph.capture import capture
from autocompress.spaces.graph.resized import Resizing
from autocompress.spaces.network import Network, look_at_network
from autocompress.spaces.plan import Plan
from autocompress.spaces.presence import absent_layers
from autocompress.spaces.sensitivity import alone, questions_of
from autocompress.spaces.shapes import Shapes
from autocompress.spaces.space import Space
from autocompress.spaces.spec import Recovery, StudentSpec
from autocompress.spaces.union import united
from autocompress.testing import AxisConformance

AXES: tuple[Axis, ...] = (
    StudentAxis(),
    DepthAxis(),
    ChannelsAxis(),
    PatternAxis(),
    BitsAxis(),
    RecoveryAxis(),
)


@functools.cache
def student(name: str, net: str) -> Network:
    held = nn.Sequential()
    held.add_module(name, nets.NETS[net][0]().eval())
    return look_at_network(capture(held.eval(), nets.net(net).example), nets.net(net).example)


@functools.cache
def union() -> SpaceContext:
    teacher = replace(nets.net("digits").context, storage_counts=True)
    return united(teacher, {"deep": student("deep", "digits"), "flat": student("flat", "flatten")})


@functools.cache
def space() -> Space:
    context = replace(union(), axes=tuple(axis.name for axis in AXES))
    return Space(context, AXES)


class TestChannelsAxisOverSeveralNetworks(AxisConformance):
    def make_axis(self) -> Axis:
        return ChannelsAxis()

    def make_context(self) -> SpaceContext:
        return union()


class TestDepthAxisOverSeveralNetworks(AxisConformance):
    def make_axis(self) -> Axis:
        return DepthAxis()

    def make_context(self) -> SpaceContext:
        return union()


class TestBitsAxisOverSeveralNetworks(AxisConformance):
    def make_axis(self) -> Axis:
        return BitsAxis()

    def make_context(self) -> SpaceContext:
        return union()


class TestPatternAxisOverSeveralNetworks(AxisConformance):
    def make_axis(self) -> Axis:
        return PatternAxis()

    def make_context(self) -> SpaceContext:
        return union()


class TestWidthAxisOverSeveralNetworks(AxisConformance):
    def make_axis(self) -> Axis:
        return WidthAxis()

    def make_context(self) -> SpaceContext:
        return replace(union(), axes=())


class TestSizeAxisOverSeveralNetworks(AxisConformance):
    def make_axis(self) -> Axis:
        return SizeAxis()

    def make_context(self) -> SpaceContext:
        areas = {layer.name: max(1, layer.area // 4) for layer in union().only("").layers}
        return replace(union(), resizings=(Resizing(8, (8, 8), (16, 16), areas=areas),))


def test_only_a_task_with_students_gets_the_variable() -> None:
    assert StudentAxis().variables(nets.net("digits").context) == ()
    (variable,) = StudentAxis().variables(union())
    assert variable.options == ("teacher", "deep", "flat") and not variable.in_network


def test_without_students_a_context_is_what_it_was() -> None:
    context = nets.net("digits").context
    assert united(context, {}) is context and context.parts() == (context,) and context.only("") is context
    assert absent_layers(context, StudentSpec()) == frozenset()


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_plan_decides_about_its_own_network_alone(data: st.DataObject) -> None:
    found = space()
    names = data.draw(st.sets(st.sampled_from([v.name for v in found.variables]), max_size=12))
    plan = Plan({n: data.draw(st.sampled_from(found.variable(n).options)) for n in sorted(names)})  # type: ignore[union-attr]
    chosen = data.draw(st.sampled_from(["teacher", "deep", "flat"]))
    spec = found.spec(plan.changed({"student": chosen}))
    assert spec.student == ("" if chosen == "teacher" else chosen)
    its = union().only(spec.student)
    assert spec.channels.keys() <= {group.name for group in its.groups}
    assert spec.bits.keys() | spec.patterns.keys() <= {layer.name for layer in its.layers}
    assert set(spec.dropped) <= {block.name for block in its.blocks}


class Reader(nn.Module):
    """Words, read by an LSTM layer: the channels between the two touch no layer that a search prunes by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.gates = nn.Embedding(50, 32), nn.LSTM(32, 16, batch_first=True)
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        answers: Tensor = self.head(self.gates(self.words(x))[0][:, -1])
        return answers


def with_reader() -> SpaceContext:
    words, held = torch.zeros(1, 5, dtype=torch.long), nn.Sequential(OrderedDict(reader=Reader()))
    reader = look_at_network(capture(held.eval(), words), words)
    assert [group.name for group in reader.groups] == ["reader.words"]
    return united(replace(nets.net("digits").context, axes=()), {"reader": reader})


def test_channels_of_an_embedding_are_those_of_its_own_network() -> None:
    found = Space(with_reader(), [StudentAxis(), ChannelsAxis(), RecoveryAxis()])
    narrow = Plan({"channels:reader.words": 16})
    assert found.repair(narrow) == Plan(), "a student has one plan"
    assert found.spec(narrow.changed({"student": "reader"})).channels == {"reader.words": 16}


def test_a_width_leaves_the_embeddings_of_other_networks_alone() -> None:
    found = Space(with_reader(), [StudentAxis(), WidthAxis(), RecoveryAxis()])
    channels = found.spec(Plan({"width": 0.5})).channels
    assert channels and "reader.words" not in channels


@pytest.mark.parametrize("name", ["", "deep", "flat"])
def test_shapes_and_questions_are_those_of_the_network_alone(name: str) -> None:
    context, its = space().context, space().context.only(name)
    narrow = {g.name: max(g.blocks, g.channels // 2 // g.blocks * g.blocks) for g in its.groups}
    bits = {its.layers[1].name: 8}
    whole = Shapes(context).of(StudentSpec(narrow, bits, student=name))
    own = Shapes(its).of(StudentSpec(narrow, bits))
    assert [la.name for la, there in zip(context.layers, whole.present, strict=True) if there] == [
        la.name for la in its.layers
    ]
    for part in ("inputs", "outputs", "weights", "macs", "reads", "writes", "bits"):
        np.testing.assert_array_equal(getattr(whole, part)[whole.present], getattr(own, part))
        gone = getattr(whole, part)[~whole.present]
        assert set(gone.tolist()) <= {32 if part == "bits" else 0}
    asked = questions_of(space(), name)
    assert asked and all(not spec.student for spec, _ in asked.values()), "they are edits of the network itself"
    layers = {la.name for la in its.layers}
    assert {v.name for v in space().network if not layers.isdisjoint(v.layers)} >= {
        question.name for question in asked if question.name in {v.name for v in space().network}
    }


def test_each_network_has_regions_and_roles_of_its_own() -> None:
    assert all(
        len({union().network_of((layer.name,)) for layer in region}) == 1 for region in regions(union()) if region
    )
    roles = {v.role for v in space().of("channels")}
    own = [v for v in space().of("channels") if union().network_of(v.layers) == "deep"]
    assert "stream 1" in roles and "stream 1 (deep)" in roles and {v.in_stream for v in own} == {True, False}
    last = [context.blocks[-1].name for context in union().parts() if context.blocks]
    assert len(last) == 2 and not set(last) & {v.subject for v in space().of("depth")}


def test_a_decision_alone_is_about_its_own_network() -> None:
    variable = next(v for v in space().of("bits") if union().network_of(v.layers) == "flat")
    spec = alone(space(), variable, 8)
    assert spec.student == "" and spec.bits and set(spec.bits) == set(variable.layers)


def test_nothing_of_the_teachers_is_asked_of_a_students_teaching() -> None:
    context = replace(union(), axes=("recovery",), aids=("hidden",), starts=("teacher", "early"))
    found = Space(context, [StudentAxis(), RecoveryAxis()])
    plan = Plan({
        "recovery:method": "full",
        "recovery:feature_weight": 0.5,
        "recovery:hidden_weight": 0.5,
        "recovery:start": "early",
        "recovery:alpha": 0.25,
    })  # fmt: skip
    assert found.spec(plan).recovery == Recovery(feature_weight=0.5, hidden_weight=0.5, early=True, alpha=0.25)
    assert found.spec(plan.changed({"student": "flat"})).recovery == Recovery(alpha=0.25)


def test_a_student_of_the_users_own_has_a_key_of_its_own() -> None:
    keys = {spec.key() for spec in (StudentSpec(), StudentSpec(student="a"), StudentSpec(student="b"))}
    assert len(keys) == 3
    own = StudentSpec(student="a", recovery=Recovery())
    assert own.changes_network and own.structure() == StudentSpec(student="a")
    assert own.shape_key() == StudentSpec(student="a").key() != StudentSpec().key() != own.training_key()


def test_the_groups_of_a_student_are_found_as_in_the_network_itself() -> None:
    own, found = nets.net("flatten"), student("flat", "flatten")
    assert [f"flat.{layer.name}" for layer in own.context.layers] == [layer.name for layer in found.layers]
    assert [f"flat.{g.name}" for g in own.context.groups] == [g.name for g in found.groups]
    assert torch.is_tensor(found.groups[0].importance)
