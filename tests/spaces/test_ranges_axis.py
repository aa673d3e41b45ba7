"""The axis of activations: what it offers where, and which of its decisions are legal."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from encoders import EXAMPLE, Encoder, context_of, unlike

from autocompress.evaluators.latency_features import Features
from autocompress.spaces.axes.base import Axis
from autocompress.spaces.axes.bits import BitsAxis
from autocompress.spaces.axes.depth import DepthAxis
from autocompress.spaces.axes.ranges import FEW_ROWS, RangesAxis
from autocompress.spaces.axes.target import TargetAxis
from autocompress.spaces.context import SpaceContext
from autocompress.spaces.graph.capture import capture
from autocompress.spaces.network import Network, look_at_network
from autocompress.spaces.plan import Plan
from autocompress.spaces.sensitivity import questions_of
from autocompress.spaces.space import Space
from autocompress.spaces.spec import StudentSpec
from autocompress.spaces.target import Capabilities, joint_capabilities, ways_on
from autocompress.testing import AxisConformance, sample_context

WAYS = {8: ("dynamic", "float"), 4: ("float",)}
CAN = Capabilities((32, 8), (16, 4), 8, ways=WAYS)


def encoder() -> Network:
    with torch.random.fork_rng(devices=[]):
        return look_at_network(capture(unlike(Encoder(first=False)), EXAMPLE), EXAMPLE)


def context(can: Capabilities = CAN, storage_counts: bool = True) -> SpaceContext:
    return replace(context_of(encoder(), can), storage_counts=storage_counts)


def joint(base: SpaceContext) -> Space:
    return Space(replace(base, axes=("bits", "ranges")), [RangesAxis(), BitsAxis()])


class TestRangesAxis(AxisConformance):
    def make_axis(self) -> Axis:
        return RangesAxis()

    def make_context(self) -> SpaceContext:
        return context()


class TestRangesAxisBesideConvolutions(AxisConformance):
    def make_axis(self) -> Axis:
        return RangesAxis()

    def make_context(self) -> SpaceContext:
        return replace(sample_context(), capabilities=CAN)


def test_ways_go_with_the_bits_that_have_them() -> None:
    space = joint(context())
    for bits, way, legal in (
        (8, "dynamic", True),
        (8, "float", True),
        (4, "float", True),
        (4, "dynamic", False),
        (16, "float", False),
        (32, "dynamic", False),
    ):
        spec = space.spec(space.uniform({"bits": bits, "ranges": way}))
        layers = {layer for variable in space.of("ranges") for layer in variable.layers}
        assert spec.activations == (dict.fromkeys(sorted(layers), way) if legal else {}), (bits, way)


def test_float_activations_are_offered_where_rows_are_few_or_size_counts() -> None:
    (rows,) = {layer.area for layer in encoder().layers if layer.area > 1}
    assert rows <= FEW_ROWS
    few, many = context(storage_counts=False), replace(context(storage_counts=False), batch=2)
    offered = {o for v in RangesAxis().variables(few) for o in v.options}
    assert offered == {"static", "dynamic", "float"}
    options = {v.subject: v.options for v in RangesAxis().variables(many)}
    assert options["layers.0.qkv"] == ("static", "dynamic")
    assert any("float" in entry.name for entry in RangesAxis().left_out(many))
    assert all("float" in v.options for v in RangesAxis().variables(replace(many, storage_counts=True)))


def test_targets_without_other_kernels_offer_nothing_and_say_so() -> None:
    plain = context(Capabilities((32, 8), (), 8))
    assert RangesAxis().variables(plain) == ()
    assert {entry.name for entry in RangesAxis().left_out(plain)} == {"dynamic activations", "float activations"}


def test_each_plan_has_the_ways_of_its_target() -> None:
    there = Capabilities((32, 8), (), 8)
    union = joint_capabilities([CAN, there], any_of=True)
    both = replace(context(union), targets={"here": CAN, "there": there}, axes=("bits", "ranges"))
    space = Space(both, [BitsAxis(), RangesAxis(), TargetAxis()])
    asked = space.uniform({"bits": 8, "ranges": "dynamic"})
    assert space.spec(asked.changed({"target": "here"})).activations
    assert not space.spec(asked.changed({"target": "there"})).activations
    assert joint_capabilities([CAN, there], any_of=False).ways == {}
    assert ways_on(there, {"a": 8}, {"a": "dynamic"}) == {}
    assert ways_on(CAN, {"a": 8, "b": 4}, {"a": "dynamic", "b": "dynamic", "c": "float"}) == {"a": "dynamic"}


def test_layers_of_dropped_blocks_have_no_ways() -> None:
    network = encoder()
    base = replace(context(), blocks=network.blocks, axes=("depth", "bits", "ranges"))
    space = Space(base, [DepthAxis(), BitsAxis(), RangesAxis()])
    plan = space.uniform({"bits": 8, "ranges": "dynamic"})
    block = next(b for b in network.blocks if f"depth:{b.name}" in {v.name for v in space.of("depth")})
    spec = space.spec(plan.changed({f"depth:{block.name}": "dropped"}))
    assert spec.activations and not spec.activations.keys() & set(block.layers)


def test_ways_alone_change_nothing_that_could_be_measured() -> None:
    space = joint(context())
    assert not any(question.name.startswith("ranges") for question in questions_of(space))
    assert any(question.name.startswith("bits") for question in questions_of(space))


def test_latency_has_terms_of_their_own_for_ways_where_a_study_decides_about_them() -> None:
    base = context()
    with_ways = replace(base, axes=("bits", "ranges"))
    name = "layers.0.up"
    specs = [StudentSpec(bits={name: 8}, activations=a) for a in ({}, {name: "dynamic"}, {name: "float"})]
    apart = [tuple(Features(with_ways).of(spec)[0]) for spec in specs]
    assert len(set(apart)) == 3
    alike = [tuple(Features(base).of(spec)[0]) for spec in specs]
    assert len(set(alike)) == 1 and len(alike[0]) < len(apart[0])
    for features in (Features(base), Features(with_ways)):
        terms, _ = features.of(StudentSpec())
        assert terms.shape == features.prior.shape
        np.testing.assert_allclose(features.by_layer(specs[1]).sum(), 1.0)


@pytest.mark.parametrize("way", ["dynamic", "float"])
def test_a_plan_of_another_study_is_repaired(way: str) -> None:
    silent = Space(replace(context(), axes=("bits",)), [BitsAxis()])
    plan = Plan({"ranges:layers.0.qkv": way, "bits:layers.0.qkv": 8})
    assert not silent.spec(plan).activations
