"""What was measured to pay on a target decides what a space offers, and doubt takes nothing away."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import nets
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from knob_values import CAN, FAST, SLOW, UNSURE, all_knobs, ratios

from autocompress.evaluators.micronets import CHANNELS, KINDS
from autocompress.search.report.space_report import describe
from autocompress.spaces.axes.base import Choice, Ground
from autocompress.spaces.axes.bits import BitsAxis
from autocompress.spaces.axes.channels import ChannelAxis
from autocompress.spaces.layers import kind_of
from autocompress.spaces.neighbours.moves import Mover
from autocompress.spaces.plan import Plan, Recovery
from autocompress.spaces.space import Space, build_space
from autocompress.spaces.target import Capabilities, Target
from autocompress.spaces.target_profile import BitsTime, ChannelTime, Knobs, Ratio, joint_knobs


def times(ratio: Ratio, factor: float) -> Ratio:
    return Ratio(ratio.value * factor, ratio.low * factor, ratio.high * factor, ratio.disturbed)


def staircase(kind: str, bits: int, riser: int) -> tuple[ChannelTime, ...]:
    """What a kernel is measured to take that pads channels to multiples of `riser`, as blocked layouts do."""
    found = []
    for step in (4, 8, 16, 32):
        padded = -(-(CHANNELS - step) // riser) * riser
        value = (padded / CHANNELS) ** 2
        ratio = Ratio(value, value * 0.97, value * 1.03)
        found.append(ChannelTime(kind, bits, CHANNELS, step, (1 - step / CHANNELS) ** 2, ratio, "here"))
    return tuple(found)


def with_knobs(name: str, knobs: Knobs, **changes: object) -> Space:
    ground: Ground = replace(nets.net(name).ground, knobs=knobs, **changes)  # type: ignore[arg-type]
    return build_space(ground)


# -- the rules ---------------------------------------------------------------------------------------------------------


@given(ratio=ratios(), factor=st.floats(1, 3))
def test_slower_never_revives_a_knob_and_faster_never_kills_one(ratio: Ratio, factor: float) -> None:
    before, after = (BitsTime("conv", 8, r).verdict for r in (ratio, times(ratio, factor)))
    order = ("pays", "undecided", "does not pay")
    assert order.index(before) <= order.index(after)


@given(ratio=ratios(), wider=st.floats(1, 1.5))
def test_doubt_decides_nothing(ratio: Ratio, wider: float) -> None:
    sure = BitsTime("conv", 8, ratio).verdict
    vague = replace(ratio, low=ratio.low / wider, high=ratio.high * wider)
    for doubtful in (vague, replace(ratio, disturbed=True)):
        assert BitsTime("conv", 8, doubtful).verdict in (sure, "undecided")


@given(knobs=all_knobs(), kind=st.sampled_from(KINDS), bits=st.sampled_from((16, 8)))
def test_bits_die_only_when_the_lower_end_is_over_the_threshold(knobs: Knobs, kind: str, bits: int) -> None:
    time = knobs.bits_time(kind, bits)
    if time is None or time.ratio.low <= 0.97:
        assert not knobs.is_dead(kind, bits)
    elif not time.ratio.disturbed:
        assert knobs.is_dead(kind, bits)


@given(knobs=all_knobs(), kind=st.sampled_from(KINDS), declared=st.sampled_from((1, 4, 8, 16, 32)))
def test_a_multiple_stays_near_the_declared_one(knobs: Knobs, kind: str, declared: int) -> None:
    multiple = knobs.multiple(kind, replace(CAN, channel_multiple=declared))
    assert multiple == declared or (4 <= multiple <= 32 and declared / 2 <= multiple <= declared * 2)


@pytest.mark.parametrize(
    ("declared", "riser", "expected"), [(16, 16, 16), (8, 16, 16), (16, 8, 8), (8, 4, 4), (16, 4, 8), (32, 32, 32)]
)
def test_the_step_is_that_of_the_staircase(declared: int, riser: int, expected: int) -> None:
    can = Capabilities((32,), (), declared)
    assert Knobs((), staircase("conv", 32, riser)).multiple("conv", can) == expected


@pytest.mark.parametrize("step", [8, 16])
def test_an_undecided_or_missing_step_keeps_the_declared_multiple(step: int) -> None:
    can = Capabilities((32,), (), 16)
    stairs = staircase("conv", 32, 32)
    assert Knobs((), stairs).multiple("conv", can) == 32
    missing = tuple(t for t in stairs if t.step != step)
    unsure = tuple(replace(t, ratio=Ratio(0.9, 0.6, 1.2)) if t.step == step else t for t in stairs)
    for open_ in (missing, unsure):
        assert Knobs((), open_).multiple("conv", can) == 16


@given(knobs=all_knobs(), data=st.data(), factor=st.floats(1, 3))
def test_a_step_that_got_slower_is_not_chosen_for_it(knobs: Knobs, data: st.DataObject, factor: float) -> None:
    if not knobs.channels:
        return
    slower = data.draw(st.sampled_from(knobs.channels))
    others = tuple(t for t in knobs.channels if t is not slower)
    after = replace(knobs, channels=(*others, replace(slower, ratio=times(slower.ratio, factor))))
    for declared in (8, 16):
        can = replace(CAN, channel_multiple=declared)
        was, now = knobs.multiple(slower.kind, can), after.multiple(slower.kind, can)
        assert now != slower.step or now in (was, declared)


def test_both_precisions_count_and_dead_bits_do_not() -> None:
    knobs = Knobs((BitsTime("conv", 8, FAST),), (*staircase("conv", 32, 8), *staircase("conv", 8, 16)))
    assert knobs.multiple("conv", CAN) == 16
    dead = replace(knobs, bits=(BitsTime("conv", 8, SLOW),))
    assert dead.multiple("conv", CAN) == 8


@given(knobs=all_knobs())
def test_knobs_survive_json(knobs: Knobs) -> None:
    assert Knobs.from_dict(json.loads(json.dumps(knobs.to_dict()))) == knobs


@given(one=all_knobs(), other=all_knobs())
def test_merging_loses_nothing_and_the_later_counts(one: Knobs, other: Knobs) -> None:
    both = one.merged(other)
    assert both.merged(other) == both and one.merged(Knobs()) == one
    assert all(both.bits_time(t.kind, t.bits) == t for t in other.bits)
    assert all(both.bits_time(t.kind, t.bits) is not None for t in one.bits)
    assert all(both.channel_time(t.kind, t.bits, t.step) == t for t in other.channels)


@given(one=all_knobs(), other=all_knobs(), kind=st.sampled_from(KINDS))
def test_bits_are_dead_on_several_targets_only_if_dead_on_each(one: Knobs, other: Knobs, kind: str) -> None:
    can = Capabilities((32, 16, 8), (), 8)
    joint = joint_knobs([(can, one), (can, other)])
    for bits in (16, 8):
        if joint.is_dead(kind, bits):
            assert one.is_dead(kind, bits) and other.is_dead(kind, bits)
    assert joint_knobs([(can, one)]) == one


# -- the space ---------------------------------------------------------------------------------------------------------


def test_layers_know_their_kind() -> None:
    conv = torch.nn.Conv2d
    modules = [conv(8, 8, 3), conv(8, 8, 1), conv(8, 16, 3, groups=8), conv(8, 8, 3, groups=4), conv(1, 8, 3)]
    assert [kind_of(m) for m in modules] == ["conv", "pointwise", "depthwise", "conv", "conv"]
    assert kind_of(torch.nn.Linear(3, 3)) == "linear" and kind_of(torch.nn.ReLU()) is None


def test_groups_snap_to_the_largest_step_of_their_layers() -> None:
    net = nets.net("grouped")  # 3x3 and grouped convolutions, then a 1x1, then a linear layer
    knobs = Knobs((), tuple(t for k in KINDS for b in (32, 8) for t in staircase(k, b, 16 if k == "pointwise" else 8)))
    axis = ChannelAxis(replace(net.ground, knobs=knobs))
    kinds = {layer.name: layer.kind for layer in net.ground.layers}
    for group, choices in axis.groups():
        touched = {kinds[m.layer] for m in group.members if m.layer in kinds}
        assert all(c % (16 if "pointwise" in touched else 8) == 0 for c in choices)
    assert {"pointwise", "conv"} <= set(kinds.values())


@pytest.mark.parametrize("name", nets.SMALL)
def test_groups_of_unknown_kinds_snap_as_declared(name: str) -> None:
    ground = nets.net(name).ground
    empty = replace(ground, knobs=Knobs())
    assert ChannelAxis(empty).groups() == ChannelAxis(ground).groups()
    assert BitsAxis(empty).parameters() == BitsAxis(ground).parameters()


DEAD_CONV = Knobs((BitsTime("conv", 8, SLOW, "here"), BitsTime("pointwise", 8, UNSURE), BitsTime("linear", 8, FAST)))
DEAD = Knobs(tuple(BitsTime(kind, 8, SLOW, "here") for kind in KINDS))


def test_dead_bits_are_frozen_where_every_kind_of_a_region_is_dead() -> None:
    space = with_knobs("digits", DEAD_CONV)
    axis = BitsAxis(space.ground)
    for i, region in enumerate(axis.regions()):
        only_dead = {layer.kind for layer in region} == {"conv"}
        assert axis.offered_in(region) == ((32,) if only_dead else (32, 8))
        assert (f"bits_{i}" in axis.parameters()) == (not only_dead)
    assert axis.offered() == (32, 8)
    (entry,) = (e for e in axis.left_out() if "conv" in e.name)
    assert entry.name == "int8 for conv layers"
    assert "1.31 (1.28 to 1.34) of the time of 32 bits on here" in entry.reason


def test_bits_dead_everywhere_are_no_decision() -> None:
    space = with_knobs("digits", DEAD)
    axis = BitsAxis(space.ground)
    assert axis.offered() == (32,) and axis.parameters() == {}
    assert space.uniform(0.5, 8, None).bits == {}
    assert {e.name for e in axis.left_out()} >= {"int8 for conv layers", "int8 for linear layers"}


def test_a_uniform_plan_stays_at_32_bits_where_fewer_are_frozen() -> None:
    space = with_knobs("digits", DEAD_CONV)
    bits = space.uniform(1.0, 8, Recovery()).bits
    axis = BitsAxis(space.ground)
    for region in axis.regions():
        assert {bits.get(layer.name, 32) for layer in region} == {axis.offered_in(region)[-1]}


@pytest.mark.parametrize("changes", [{"storage_counts": True}, {"bits": (8,)}])
def test_what_size_or_the_user_asks_for_is_not_frozen(changes: dict[str, object]) -> None:
    assert 8 in BitsAxis(with_knobs("digits", DEAD, **changes).ground).offered()


def test_bits_of_a_whole_network_are_frozen_together_or_not_at_all() -> None:
    can = Capabilities((32, 16, 8), (), 8, one_float=True)
    half = Knobs((BitsTime("conv", 16, SLOW), BitsTime("conv", 8, SLOW)))
    axis = BitsAxis(with_knobs("digits", half, capabilities=can).ground)
    assert all(16 in axis.offered_in(region) for region in axis.regions())
    both = Knobs(tuple(BitsTime(kind, 16, SLOW) for kind in KINDS))
    axis = BitsAxis(with_knobs("digits", both, capabilities=can).ground)
    assert axis.offered() == (32, 8)


@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(knobs=all_knobs(), seed=st.integers(0, 2**32), one_float=st.booleans())
def test_draws_and_moves_keep_to_what_is_offered(knobs: Knobs, seed: int, one_float: bool) -> None:
    bits = (32, 16, 8) if one_float else (32, 8)
    space = with_knobs("digits", knobs, capabilities=Capabilities(bits, (), 8, one_float=one_float))
    source = random.Random(seed)
    axis = BitsAxis(space.ground)
    choices = {group.name: counts for group, counts in ChannelAxis(space.ground).groups()}
    latent = {n: source.choice(p.options) if isinstance(p, Choice) else p.high for n, p in space.latent().items()}
    plan = space.decode(latent)
    for _ in range(10):
        for region in axis.regions():
            assert {plan.bits.get(layer.name, 32) for layer in region} <= set(axis.offered_in(region))
        assert all(count in choices[name] for name, count in plan.channels.items())
        moved = Mover(space).move(plan, source)
        assert moved != plan
        plan = moved


def test_the_space_is_told_with_the_measured_ratios(capsys: pytest.CaptureFixture[str]) -> None:
    from autocompress.cli import space_table as spacetable

    knobs = Knobs(DEAD_CONV.bits, staircase("conv", 32, 8))
    space = with_knobs("digits", knobs)
    described = json.loads(json.dumps(describe(space, (), [Target()], {}), default=str))
    assert {e["verdict"] for e in described["knobs"]["bits"]} == {"does not pay", "undecided", "pays"}
    assert described["knobs"]["steps"]["conv"] == 8
    spacetable.print_space(described)
    said = capsys.readouterr().out
    assert "1.31" in said and "1.28 to 1.34" in said and "does not pay: frozen" in said and "undecided" in said
    plain = describe(nets.net("digits").space, (), [Target()], {})
    assert plain["knobs"] is None
    spacetable.print_space(plain)
    assert "What fewer" not in capsys.readouterr().out


def test_an_empty_plan_is_legal_under_any_knobs() -> None:
    assert with_knobs("digits", DEAD).settled(Plan()) == Plan()
