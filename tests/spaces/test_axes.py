"""Every built-in axis, against the seam's own conformance suite."""

from __future__ import annotations

from dataclasses import replace

import nets
import pytest

from autocompress.spaces.axes.base import Axis
from autocompress.spaces.axes.bits import BitsAxis
from autocompress.spaces.axes.channels import ChannelsAxis
from autocompress.spaces.axes.depth import DepthAxis
from autocompress.spaces.axes.factors import FactorsAxis
from autocompress.spaces.axes.patterns import PatternAxis, pattern_of, word_of
from autocompress.spaces.axes.ranges import RangesAxis
from autocompress.spaces.axes.recovery import RecoveryAxis
from autocompress.spaces.axes.registry import AXES, DEFAULT
from autocompress.spaces.axes.size import SizeAxis
from autocompress.spaces.axes.student import StudentAxis
from autocompress.spaces.axes.target import TargetAxis
from autocompress.spaces.axes.width import WidthAxis
from autocompress.spaces.context import NamedNetwork, SpaceContext
from autocompress.spaces.graph.resized import Resizing
from autocompress.spaces.spec import Pattern
from autocompress.spaces.target import Capabilities
from autocompress.spaces.target_profile import BitsTime, ChannelTime, Ratio, TargetProfile
from autocompress.testing import AxisConformance, sample_context


class TestChannelsAxis(AxisConformance):
    def make_axis(self) -> Axis:
        return ChannelsAxis()


class TestChannelsAxisOnResidualStreams(AxisConformance):
    def make_axis(self) -> Axis:
        return ChannelsAxis()

    def make_context(self) -> SpaceContext:
        return nets.net("digits").context


class TestChannelsAxisInMeasuredSteps(AxisConformance):
    def make_axis(self) -> Axis:
        return ChannelsAxis()

    def make_context(self) -> SpaceContext:
        ratios = {4: Ratio(1.0, 0.99, 1.01), 8: Ratio(0.99, 0.98, 1.0), 16: Ratio(0.58, 0.57, 0.6)}
        times = (ChannelTime("conv", b, 64, s, (1 - s / 64) ** 2, r) for b in (32, 8) for s, r in ratios.items())
        return replace(sample_context(), profile=TargetProfile((), tuple(times)))


class TestWidthAxis(AxisConformance):
    def make_axis(self) -> Axis:
        return WidthAxis()


class TestSizeAxis(AxisConformance):
    def make_axis(self) -> Axis:
        return SizeAxis()

    def make_context(self) -> SpaceContext:
        context = sample_context()
        full = sum(layer.area for layer in context.layers)
        areas = {layer.name: max(1, layer.area // 4) for layer in context.layers}
        assert sum(areas.values()) < full
        return replace(context, resizings=(Resizing(4, (4, 4), (8, 8), areas=areas),))


class TestStudentAxis(AxisConformance):
    def make_axis(self) -> Axis:
        return StudentAxis()

    def make_context(self) -> SpaceContext:
        names = tuple(layer.name for layer in sample_context().layers)
        networks = NamedNetwork("", names[:1], (), (), ()), NamedNetwork("own", names[1:], (), (), ())
        return replace(sample_context(), networks=networks)


class TestDepthAxis(AxisConformance):
    def make_axis(self) -> Axis:
        return DepthAxis()

    def make_context(self) -> SpaceContext:
        return nets.net("cifar_resnet20").context


class TestFactorsAxis(AxisConformance):
    def make_axis(self) -> Axis:
        return FactorsAxis()


class TestFactorsAxisWithRanks(AxisConformance):
    def make_axis(self) -> Axis:
        return FactorsAxis()

    def make_context(self) -> SpaceContext:
        return nets.net("flatten").context


class TestPatternAxis(AxisConformance):
    def make_axis(self) -> Axis:
        return PatternAxis()


class TestPatternAxisWithBlocks(AxisConformance):
    def make_axis(self) -> Axis:
        return PatternAxis()

    def make_context(self) -> SpaceContext:
        return replace(sample_context(), patterns=("block:4x1",))


class TestBitsAxis(AxisConformance):
    def make_axis(self) -> Axis:
        return BitsAxis()


class TestBitsAxisWhereSomeDoNotPay(AxisConformance):
    def make_axis(self) -> Axis:
        return BitsAxis()

    def make_context(self) -> SpaceContext:
        slow = TargetProfile((BitsTime("conv", 8, Ratio(1.31, 1.28, 1.34), "here"),))
        return replace(sample_context(), storage_counts=False, profile=slow)


class TestBitsAxisWhereFloatLayersShareAPrecision(AxisConformance):
    def make_axis(self) -> Axis:
        return BitsAxis()

    def make_context(self) -> SpaceContext:
        return replace(sample_context(), capabilities=Capabilities((32, 16, 8), (), 8, one_float=True))


class TestRecoveryAxis(AxisConformance):
    def make_axis(self) -> Axis:
        return RecoveryAxis()

    def make_context(self) -> SpaceContext:
        return replace(sample_context(), axes=("recovery",))


class TestRecoveryAxisWithEveryWay(AxisConformance):
    def make_axis(self) -> Axis:
        return RecoveryAxis()

    def make_context(self) -> SpaceContext:
        return replace(sample_context(), axes=("recovery",), ways=("lora", "bitfit", "classifier", "full"))


class TestTargetAxis(AxisConformance):
    def make_axis(self) -> Axis:
        return TargetAxis()

    def make_context(self) -> SpaceContext:
        targets = {"here": Capabilities((32, 8), (), 8), "there": Capabilities((32, 16), (), 16, one_float=True)}
        return replace(sample_context(), targets=targets)


def test_every_registered_axis_is_tried_here_and_has_its_own_name() -> None:
    tried = {BitsAxis, ChannelsAxis, DepthAxis, PatternAxis, RecoveryAxis, SizeAxis, StudentAxis, TargetAxis, WidthAxis}
    tried |= {RangesAxis, FactorsAxis}
    ours = {name: AXES.load(name) for name in AXES.names() if AXES.load(name).__module__.startswith("autocompress.")}
    assert set(ours.values()) == tried
    assert all(cls.name == name for name, cls in ours.items())
    assert set(DEFAULT) <= set(ours)


@pytest.mark.parametrize(
    "pattern",
    [Pattern("2:4", 0.5), Pattern("unstructured", 0.3), Pattern("unstructured", 0.9), Pattern("block:4x1", 0.7)],
)
def test_a_pattern_survives_its_word(pattern: Pattern) -> None:
    assert pattern_of(word_of(pattern)) == pattern


def test_blocks_of_zeros_are_offered_only_where_a_study_names_them() -> None:
    def families(patterns: tuple[str, ...] | None) -> set[str]:
        context = replace(sample_context(), storage_counts=True, patterns=patterns)
        return {family for variable in PatternAxis().variables(context) for family in variable.families}

    assert families(None) == {"", "unstructured", "2:4"}
    assert families(("block:4x1", "2:4")) == {"", "2:4", "block:4x1"}


def test_one_target_is_no_choice() -> None:
    alone = replace(sample_context(), targets={"here": Capabilities((32,), (), 8)})
    assert TargetAxis().variables(alone) == () == TargetAxis().variables(sample_context())
