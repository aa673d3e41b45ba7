"""Recurrent layers: which are found, and what a space decides about them."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from autocompress.compression.edits import Parent
from autocompress.compression.fake_quant import FakeQuantizer
from autocompress.compression.student import make_student
from autocompress.evaluators.latency_features import Features
from autocompress.spaces.axes.base import Axis
from autocompress.spaces.axes.bits import BitsAxis
from autocompress.spaces.axes.depth import DepthAxis
from autocompress.spaces.axes.target import TargetAxis
from autocompress.spaces.context import SpaceContext
from autocompress.spaces.graph.capture import capture
from autocompress.spaces.network import Network, look_at_network
from autocompress.spaces.plan import Plan
from autocompress.spaces.sensitivity import questions_of
from autocompress.spaces.sizes import find_sizes
from autocompress.spaces.space import Space
from autocompress.spaces.spec import StudentSpec
from autocompress.spaces.target import Capabilities, bits_on, joint_capabilities, ways_on
from autocompress.spaces.union import united
from autocompress.testing import AxisConformance

STORED = {"lstm": {8: ("float",)}, "gru": {8: ("float",)}}
CAN = Capabilities((32, 8), (16, 4), 8, recurrent={**STORED, "lstm": {8: ("dynamic", "float")}})
ONLY_STORED = Capabilities((32, 8), (), 8, recurrent=STORED)
EXAMPLE = torch.zeros(1, 5, 4)


class Reader(nn.Module):
    """A sequence [N, T, 4], read by an LSTM layer and a stack of GRU layers in both directions."""

    def __init__(self, **more: Any) -> None:
        super().__init__()
        self.steps, self.gates = nn.Linear(4, 8), nn.LSTM(8, 6, batch_first=True, **more)
        self.stack = nn.GRU(more.get("proj_size", 6), 10, 2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(20, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stack(self.gates(self.steps(x))[0])[0][:, -1])


def network() -> Network:
    return look_at_network(capture(Reader().eval(), EXAMPLE), EXAMPLE)


def context(can: Capabilities = CAN, storage_counts: bool = True) -> SpaceContext:
    found = network()
    return SpaceContext(
        found.layers, found.groups, can, found.modules, recurrent=found.recurrent, storage_counts=storage_counts
    )


class TestBitsAxisWithRecurrentLayers(AxisConformance):
    def make_axis(self) -> Axis:
        return BitsAxis()

    def make_context(self) -> SpaceContext:
        return context()


def test_a_stack_of_two_directions_is_one_layer() -> None:
    gates, stack = network().recurrent
    assert (gates.name, gates.kind, gates.shape, gates.area) == ("gates", "lstm", (24, 8), 5)
    assert gates.weights == 24 * 8 + 24 * 6 and gates.macs == 5 * gates.weights
    assert (stack.name, stack.kind) == ("stack", "gru") and gates.depth < stack.depth < 1
    assert stack.weights == 2 * (30 * 6 + 30 * 10) + 2 * (30 * 20 + 30 * 10)


def test_layers_that_project_or_compute_their_weights_stay_in_float() -> None:
    normed = Reader()
    weight_norm(normed.gates, "weight_hh_l0")
    for reader in (Reader(proj_size=3), normed):
        found = look_at_network(capture(reader.eval(), EXAMPLE), EXAMPLE)
        assert [layer.name for layer in found.recurrent] == ["stack"]
        assert [entry.name for entry in found.no_recurrent] == ["gates"]


def test_each_is_a_decision_of_its_own_where_a_study_asks_for_them() -> None:
    asked, silent = Space(context(), [BitsAxis()]), Space(replace(context(), recurrent=()), [BitsAxis()])
    before = [variable.name for variable in silent]
    assert [variable.name for variable in asked] == [*before, "bits:gates", "bits:stack"]
    spec = asked.spec(Plan({"bits:gates": 8, "bits:stack": 8}))
    assert spec.bits == {"gates": 8, "stack": 8}
    assert spec.activations == {"gates": "dynamic", "stack": "float"}
    assert asked.spec(Plan({})) == StudentSpec()
    names = {question.name for question in questions_of(asked)}
    assert {"bits:gates", "bits:stack"} <= names, "what each of them harms is measured"


def test_weights_that_are_only_stored_in_few_bits_are_offered_where_size_counts() -> None:
    space = Space(context(storage_counts=False), [BitsAxis()])
    assert space.variable("bits:gates") is not None and space.variable("bits:stack") is None
    assert any(entry.name == "stack" and "size counts" in entry.reason for entry in space.left_out())
    named = Space(replace(context(storage_counts=False), bits=(8,)), [BitsAxis()])
    assert named.variable("bits:stack") is not None


def test_what_no_file_can_hold_or_the_user_keeps_is_not_offered() -> None:
    none = Space(context(Capabilities((32, 8), (), 8)), [BitsAxis()])
    assert none.variable("bits:gates") is None
    assert {"gates", "stack"} <= {entry.name for entry in none.left_out()}
    assert Space(replace(context(), keep=frozenset({"gates"})), [BitsAxis()]).variable("bits:gates") is None


def test_each_plan_has_the_form_of_its_target() -> None:
    none = Capabilities((32, 8), (), 8)
    targets = {"runs": CAN, "stores": ONLY_STORED, "neither": none}
    union = joint_capabilities(list(targets.values()), any_of=True)
    space = Space(replace(context(union), targets=targets), [BitsAxis(), TargetAxis()])
    found = {name: space.spec(Plan({"bits:gates": 8, "target": name})) for name in targets}
    assert {name: spec.activations.get("gates") for name, spec in found.items()} == {
        "runs": "dynamic",
        "stores": "float",
        "neither": None,
    }
    assert found["neither"].bits == {}


@pytest.mark.parametrize("order", [(CAN, ONLY_STORED), (ONLY_STORED, CAN)])
def test_what_one_target_runs_and_the_other_stores_is_decided_for_both(order: tuple[Capabilities, ...]) -> None:
    both = joint_capabilities(order, any_of=False)
    space = Space(context(both, storage_counts=False), [BitsAxis()])
    spec = space.spec(Plan({"bits:gates": 8}))
    assert (spec.bits, spec.activations) == ({"gates": 8}, {"gates": "dynamic"}), "the first of them gains by it"
    assert space.variable("bits:stack") is None, "neither gains by this one"
    none = joint_capabilities([*order, Capabilities((32, 8), (), 8)], any_of=False)
    space = Space(context(none, storage_counts=False), [BitsAxis()])
    assert space.variable("bits:gates") is None
    reasons = [entry.reason for entry in space.left_out() if entry.name == "gates"]
    assert len(reasons) == 1 and "not every target" in reasons[0]


def test_files_for_other_targets_have_the_forms_that_these_have() -> None:
    kinds, bits, ways = {"gates": "lstm"}, {"gates": 8, "fc": 8}, {"gates": "dynamic"}
    assert bits_on(CAN, bits, ["fc"], (), kinds) == bits
    assert bits_on(Capabilities((32, 8), (), 8), bits, ["fc"], (), kinds) == {"fc": 8}
    assert ways_on(CAN, bits, ways, kinds) == ways
    assert ways_on(ONLY_STORED, bits, ways, kinds) == {"gates": "float"}
    assert ways_on(Capabilities((32, 8), (), 8), {"fc": 8}, ways, kinds) == {}


@pytest.mark.parametrize("axes", [("bits",), ("bits", "ranges")])
def test_latency_has_terms_for_layers_that_may_run_in_int8(axes: tuple[str, ...]) -> None:
    asked = replace(context(storage_counts=False), axes=axes)
    features, silent = Features(asked), Features(replace(asked, recurrent=()))
    plain, spec = StudentSpec(), StudentSpec(bits={"gates": 8}, activations={"gates": "dynamic"})
    (before, place), (after, other) = features.of(plain), features.of(spec)
    assert len(before) == len(features.prior) == len(silent.prior) + 2
    assert features.prior @ after < features.prior @ before
    assert not np.array_equal(place, other)
    np.testing.assert_array_equal(silent.of(plain)[0], silent.of(spec)[0])


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.gates, self.back = nn.LayerNorm(8), nn.LSTM(8, 8, batch_first=True), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.back(self.gates(self.norm(x))[0])


def test_those_of_dropped_blocks_have_no_bits() -> None:
    graph = capture(nn.Sequential(nn.Linear(4, 8), Block(), Block(), Block(), nn.Linear(8, 3)).eval(), EXAMPLE)
    found = look_at_network(graph, EXAMPLE)
    base = SpaceContext(found.layers, found.groups, CAN, axes=("depth", "bits"), blocks=found.blocks)
    space = Space(replace(base, recurrent=found.recurrent), [DepthAxis(), BitsAxis()])
    plan = space.uniform({"bits": 8})
    gone = next(block for block in found.blocks if block.recurrent == ("2.gates",))
    spec = space.spec(plan.changed({f"depth:{gone.name}": "dropped"}))
    assert spec.dropped == (gone.name,)
    assert space.spec(plan).bits.keys() - spec.bits.keys() == {"2.gates", "2.back"}
    assert spec.activations.keys() == {"1.gates", "3.gates"}
    student = make_student(Parent.of(graph, found), spec).module
    fake = FakeQuantizer(student, spec.bits, activations=spec.activations)
    with torch.no_grad():
        plain = student(torch.ones(2, 5, 4))
        fake.switch_on()
        assert not torch.equal(student(torch.ones(2, 5, 4)), plain)


class Sentences(nn.Module):
    """Tokens [N, T]: an LSTM layer in both directions beside another one, in a block that can be dropped."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.inner = nn.Embedding(9, 24), nn.Linear(24, 32)
        self.memory, self.back = nn.LSTM(32, 8, 2, batch_first=True, bidirectional=True), nn.Linear(16, 24)
        self.again, self.head = nn.LSTM(24, 6, batch_first=True), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.words(x)
        h = h + self.back(self.memory(self.inner(h).relu())[0])
        return self.head(self.again(h)[0][:, -1])


@pytest.mark.parametrize("decided", ["recurrent", "float_recurrent"])
def test_latency_terms_of_recurrent_layers_are_of_what_students_have_of_them(decided: str) -> None:
    tokens = torch.zeros(1, 16, dtype=torch.long)
    model = Sentences().eval()
    graph = capture(model, tokens)
    found = look_at_network(graph, tokens)
    sizes, _ = find_sizes(model, graph, tokens, None)
    base = SpaceContext(found.layers, found.groups, CAN, axes=("bits",), blocks=found.blocks, resizings=sizes)
    held = nn.Sequential(OrderedDict(small=nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 3))))
    small = look_at_network(capture(held.eval(), EXAMPLE[:, 0]), EXAMPLE[:, 0])
    given: dict[str, Any] = {decided: found.recurrent}
    whole = united(replace(base, **given), {"small": small})
    features, parent = Features(whole), Parent.of(graph, replace(found, resizings=sizes))
    block = next(block.name for block in found.blocks if block.recurrent == ("memory",))
    narrow = next(g for g in found.groups if {m.layer for m in g.members} == {"inner", "memory"})

    def told(spec: StudentSpec) -> tuple[float, float]:
        in_float, in_int8 = features.of(spec)[0][-2:]
        return in_float, in_int8

    for spec in (
        StudentSpec(),
        StudentSpec(channels={narrow.name: narrow.channels // 2}),
        StudentSpec(size=8),
        StudentSpec(dropped=(block,)),
        StudentSpec(channels={narrow.name: narrow.channels // 2}, size=8),
    ):
        student = look_at_network(make_student(parent, spec).module, tokens)
        assert told(spec) == (sum(layer.macs for layer in student.recurrent), 0)
    int8 = StudentSpec(bits={"again": 8}, activations={"again": "dynamic"})
    each = tuple(layer.macs for layer in found.recurrent)
    assert told(int8) == (each if decided == "recurrent" else (sum(each), 0)), "those that nothing is decided of"
    assert told(StudentSpec(student="small")) == (0, 0), "another network has none of them"
