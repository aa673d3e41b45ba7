"""The axis of depth: what it offers, and what it leaves for other axes to decide about."""

from __future__ import annotations

from dataclasses import replace

import nets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autocompress.spaces.axes.depth import DepthAxis
from autocompress.spaces.layers import find_layers
from autocompress.spaces.plan import Plan
from autocompress.spaces.shapes import Shapes
from autocompress.spaces.space import Space
from autocompress.spaces.spec import StudentSpec


def space_of(name: str, *axes: str) -> Space:
    return nets.space_over(replace(nets.net(name).context, storage_counts=True), *axes)


def joint(name: str = "cifar_resnet20") -> Space:
    return space_of(name, "depth", "channels", "pattern", "bits")


def test_it_offers_all_blocks_but_the_last_and_those_that_are_kept() -> None:
    context = replace(nets.net("cifar_resnet20").context, keep=frozenset({"layer1.1.conv2"}))
    assert [v.subject for v in DepthAxis().variables(context)] == [
        "layer1.0",
        "layer1.2",
        "layer2.1",
        "layer2.2",
        "layer3.1",
    ]
    left = {entry.name: entry.reason for entry in DepthAxis().left_out(context)}
    assert left.keys() == {"layer1.1", "layer3.2"} and "layer1.1.conv2" in left["layer1.1"]


def test_a_network_without_shortcuts_has_nothing_to_offer() -> None:
    assert not DepthAxis().variables(nets.net("flatten").context)
    (entry,) = DepthAxis().left_out(nets.net("flatten").context)
    assert "shortcut" in entry.reason


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_nothing_is_decided_about_what_a_student_lacks(data: st.DataObject) -> None:
    space = joint()
    gone = data.draw(st.sets(st.sampled_from([v.subject for v in space.of("depth")]), min_size=1))
    lost = {layer for block in space.context.blocks if block.name in gone for layer in block.layers}
    choices = {v.name: data.draw(st.sampled_from(v.options)) for v in space.network if v.axis != "depth"}
    plan = Plan({**choices, **{f"depth:{name}": "dropped" for name in gone}})
    spec = space.spec(plan)
    assert set(spec.dropped) == gone
    assert not lost & (spec.bits.keys() | spec.patterns.keys())
    inside = {v.subject for v in space.of("channels") if lost.issuperset(v.layers)}
    assert inside and not inside & spec.channels.keys()
    other = {v.name: v.options[0] for v in space.network if v.axis != "depth" and lost.issuperset(v.layers)}
    assert space.repair(plan) == space.repair(plan.changed(other)), "one student has one plan"


def test_one_width_for_all_leaves_out_what_is_gone() -> None:
    space = space_of("cifar_resnet20", "depth", "width")
    spec = space.spec(Plan({"width": 0.5, "depth:layer2.1": "dropped"}))
    assert "layer2.1.conv1" not in spec.channels and "layer2.2.conv1" in spec.channels


@pytest.mark.parametrize("name", ["digits", "cifar_resnet20"])
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_shapes_are_those_of_the_students(name: str, data: st.DataObject) -> None:
    space = joint(name)
    indices = [data.draw(st.integers(0, len(v.options) - 1)) for v in space.network]
    spec = replace(space.spec(space.assemble(indices, Plan())), recovery=None)
    student = nets.net(name).student(spec).module
    told = Shapes(space.context).of(spec)
    real = {layer.name: layer for layer in find_layers(student.eval(), nets.net(name).example)}
    for i, layer in enumerate(space.context.layers):
        found = real.get(layer.name)
        assert told.present[i] == (found is not None)
        assert told.weights[i] == (found.weights if found else 0), layer.name
        assert told.macs[i] == (found.macs if found else 0), layer.name


def test_what_is_dropped_costs_nothing() -> None:
    space = joint()
    shapes = Shapes(space.context)
    all_but = shapes.of(StudentSpec(dropped=tuple(block.name for block in space.context.blocks)))
    lost = {layer for block in space.context.blocks for layer in block.layers}
    here = np.array([layer.name not in lost for layer in space.context.layers])
    for part in (all_but.inputs, all_but.outputs, all_but.weights, all_but.macs, all_but.reads, all_but.writes):
        assert not part[~here].any() and part[here].all()
