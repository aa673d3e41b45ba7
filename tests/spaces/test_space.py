"""The joint space: every draw is a legal plan, whatever the network's structure."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import nets
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autocompress.compression.student import make_student
from autocompress.errors import UnknownName
from autocompress.spaces.axes.base import Axis, Ground, Number, Parameter, Value
from autocompress.spaces.axes.bits import BitsAxis
from autocompress.spaces.axes.channels import ChannelAxis
from autocompress.spaces.axes.patterns import PatternAxis
from autocompress.spaces.axes.recovery import RecoveryAxis
from autocompress.spaces.neighbours.moves import Mover
from autocompress.spaces.plan import Plan
from autocompress.spaces.space import Space, build_space
from autocompress.spaces.target_profile import BitsTime, ChannelTime, Knobs, Ratio
from autocompress.testing.axis import AxisConformance


def rich_ground(name: str = "digits") -> Ground:
    """A ground where every axis has something to decide, and something that it leaves out."""
    return replace(nets.net(name).ground, storage_counts=True)


class TestChannelAxis(AxisConformance):
    def make_axis(self) -> Axis:
        return ChannelAxis(rich_ground())


class TestPatternAxis(AxisConformance):
    def make_axis(self) -> Axis:
        return PatternAxis(rich_ground())


class TestBitsAxis(AxisConformance):
    def make_axis(self) -> Axis:
        return BitsAxis(rich_ground())


class TestBitsAxisWhereSomeDoNotPay(AxisConformance):
    def make_axis(self) -> Axis:
        dead = Knobs((BitsTime("conv", 8, Ratio(1.31, 1.28, 1.34), "here"),))
        return BitsAxis(replace(nets.net("digits").ground, knobs=dead))


class TestChannelAxisInMeasuredSteps(AxisConformance):
    def make_axis(self) -> Axis:
        ratios = {4: Ratio(1.0, 0.99, 1.01), 8: Ratio(0.99, 0.98, 1.0), 16: Ratio(0.58, 0.57, 0.6)}
        times = (ChannelTime("conv", b, 64, s, (1 - s / 64) ** 2, r) for b in (32, 8) for s, r in ratios.items())
        return ChannelAxis(replace(nets.net("digits").ground, knobs=Knobs((), tuple(times))))


class TestRecoveryAxis(AxisConformance):
    def make_axis(self) -> Axis:
        return RecoveryAxis(rich_ground())


def draws(parameters: dict[str, Parameter]) -> st.SearchStrategy[dict[str, Value]]:
    """Latent numbers as any sampler may draw them."""
    return st.fixed_dictionaries(
        {
            name: st.floats(p.low, p.high) if isinstance(p, Number) else st.sampled_from(p.options)
            for name, p in parameters.items()
        }
    )


def assert_legal(plan: Plan, space: Space) -> None:
    ground = space.ground
    legal = {group.name: choices for group, choices in ChannelAxis(ground).groups()}
    assert all(count in legal[name] for name, count in plan.channels.items())
    layers = {layer.name for layer in ground.layers}
    assert set(plan.bits) <= layers and set(plan.patterns) <= layers
    offered = {*ground.capabilities.latency_bits, *(ground.capabilities.storage_bits if ground.storage_counts else ())}
    assert set(plan.bits.values()) <= offered - {32}
    assert all(0 < p.rate < 1 for p in plan.patterns.values())
    if plan.recovery is not None and plan.recovery.quantization_aware:
        assert any(b < 16 for b in plan.bits.values()), "nothing to be aware of"


def assert_runs(name: str, plan: Plan) -> None:
    net = nets.net(name)
    student = make_student(net.model, net.ground.groups, plan).module.eval()
    with torch.no_grad():
        outputs = student(net.inputs(2))
    assert outputs.shape == (2, 10) and bool(torch.isfinite(outputs).all())


@pytest.mark.parametrize("name", nets.ALL)
@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_every_draw_is_a_legal_plan_and_its_student_runs(name: str, data: st.DataObject) -> None:
    space = build_space(rich_ground(name))
    latent = data.draw(draws(space.latent()))
    plan = space.decode(latent)
    assert plan == space.decode(dict(reversed(latent.items())))
    assert Plan.from_json(plan.to_json()) == plan
    assert_legal(plan, space)
    assert_runs(name, plan)


@pytest.mark.parametrize("name", nets.ALL)
@settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), seed=st.integers(0, 2**32))
def test_moves_are_legal_and_go_somewhere(name: str, data: st.DataObject, seed: int) -> None:
    space = build_space(rich_ground(name))
    plan = space.decode(data.draw(draws(space.latent())))
    source = random.Random(seed)
    for _ in range(20):
        moved = Mover(space).move(plan, source)
        assert moved != plan
        assert_legal(moved, space)
        plan = moved
    assert_runs(name, plan)


@pytest.mark.parametrize("name", nets.ALL)
def test_full_width_without_slopes_changes_no_channels(name: str) -> None:
    axis = ChannelAxis(nets.net(name).ground)
    latent = {key: 1.0 if key == "width" else 0.0 for key in axis.parameters()}
    assert axis.apply(Plan(), latent).channels == {}


@pytest.mark.parametrize("name", nets.ALL)
@given(widths=st.tuples(st.floats(0.1, 1), st.floats(0.1, 1)))
def test_a_wider_draw_keeps_no_fewer_channels(name: str, widths: tuple[float, float]) -> None:
    axis = ChannelAxis(nets.net(name).ground)
    narrow, wide = (axis.apply(Plan(), {"width": w}).channels for w in sorted(widths))
    for group, _ in axis.groups():
        assert narrow.get(group.name, group.channels) <= wide.get(group.name, group.channels)


@pytest.mark.parametrize("name", nets.ALL)
def test_the_classifier_keeps_its_classes_and_the_reason_is_told(name: str) -> None:
    net = nets.net(name)
    last = net.ground.layers[-1].name
    reasons = {entry.name: entry.reason for entry in net.left_out}
    assert "output shape" in reasons[last]
    assert last not in {group.name for group in net.ground.groups}
    assert net.ground.groups, "and all the rest is not left out with it"


def test_padded_shortcuts_leave_the_stream_out_and_offer_what_is_inside_blocks() -> None:
    net = nets.net("cifar_resnet20")
    inner = {f"layer{s}.{b}.conv1" for s in (1, 2, 3) for b in range(3)}
    assert inner <= {group.name for group in net.ground.groups}
    reasons = {entry.name: entry.reason for entry in net.left_out}
    assert reasons.get("conv1"), "the residual stream cannot shrink past zeros of a fixed width"


def test_convolution_shortcuts_let_the_stream_shrink() -> None:
    groups = {group.name: group for group in nets.net("digits").ground.groups}
    assert any(group.kind == "stream" for group in groups.values())
    assert groups["layer1.0.conv1"].kind == "inner"


def test_grouped_convolutions_keep_equal_blocks() -> None:
    net = nets.net("grouped")
    grouped = next(g for g in net.ground.groups if "3" in {m.layer for m in g.members})
    assert grouped.blocks == 4
    assert all(count % 4 == 0 for count in grouped.choices(8, 0.25))
    kept = torch.tensor(grouped.keep(grouped.channels // 2))
    per_block = torch.bincount(kept // (grouped.channels // 4), minlength=4)
    assert len(set(per_block.tolist())) == 1


KEPT = ("layer1.0.conv1", "layer2.1.conv2", "linear")


@given(data=st.data(), seed=st.integers(0, 2**32))
@settings(max_examples=20)
def test_kept_layers_stay_as_they_are(data: st.DataObject, seed: int) -> None:
    space = build_space(replace(rich_ground(), keep=frozenset(KEPT)))
    plan = space.decode(data.draw(draws(space.latent())))
    moved = plan
    source = random.Random(seed)
    for _ in range(10):
        moved = Mover(space).move(moved, source)
    net = nets.net("digits")
    for each in (plan, moved):
        assert not {*each.bits, *each.patterns} & set(KEPT)
        student = make_student(net.model, net.ground.groups, each).module
        for name in KEPT:
            assert student.get_submodule(name).weight.shape[0] == net.model.get_submodule(name).weight.shape[0]


def test_kept_groups_are_told() -> None:
    space = build_space(replace(rich_ground(), keep=frozenset(KEPT)))
    assert any("kept as asked" in entry.reason for entry in space.left_out())


@pytest.mark.parametrize(
    ("axes", "keep", "message"),
    [
        (("widht",), (), r"unknown axis 'widht'; did you mean 'width'"),
        (("width",), ("layer1.0.conv3",), r"unknown layer 'layer1.0.conv3'; did you mean 'layer1.0.conv"),
    ],
)
def test_unknown_names_are_answered_with_the_nearest(axes: Sequence[str], keep: Sequence[str], message: str) -> None:
    with pytest.raises(UnknownName, match=message):
        build_space(replace(nets.net("digits").ground, keep=frozenset(keep)), axes)


def test_a_network_that_cannot_be_traced_leaves_all_groups_out() -> None:
    from autocompress.spaces.groups import find_groups

    class Odd(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.zeros(len(x), 2)

    groups, left_out = find_groups(Odd(), torch.zeros(1, 3), {})
    assert groups == () and all(entry.reason for entry in left_out)


def test_the_storage_only_choices_come_with_a_limit_on_size() -> None:
    plain = BitsAxis(nets.net("digits").ground)
    assert set(plain.offered()) == {32, 8} and {e.name for e in plain.left_out()} == {"4 bits", "16 bits"}
    counted = BitsAxis(rich_ground())
    assert set(counted.offered()) == {32, 16, 8, 4} and not counted.left_out()
