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
from legality import assert_legal, changed_plan, plans_of
from profile_values import CAN, FAST, SLOW, UNSURE, all_profiles, ratios

from autocompress.evaluators.micronets import CHANNELS, KINDS
from autocompress.search.report.space_report import describe_space
from autocompress.spaces.axes.bits import BitsAxis, regions
from autocompress.spaces.axes.channels import ChannelsAxis
from autocompress.spaces.context import SpaceContext
from autocompress.spaces.layers import kind_of
from autocompress.spaces.plain import from_plain, to_plain
from autocompress.spaces.plan import Plan
from autocompress.spaces.space import Space
from autocompress.spaces.target import Capabilities, Target
from autocompress.spaces.target_profile import BitsTime, ChannelTime, Ratio, TargetProfile, joint_profile


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


def with_profile(name: str, profile: TargetProfile | None, **changes: object) -> Space:
    context: SpaceContext = replace(nets.net(name).context, profile=profile, **changes)  # type: ignore[arg-type]
    return nets.space_over(context, "channels", "pattern", "bits", "recovery")


def offered(space: Space) -> set[object]:
    """The bits that some region may have."""
    return {32, *space.options("bits")}


def offered_in(space: Space) -> dict[str, tuple[object, ...]]:
    """First layer of each region -> the bits that the region may have."""
    found = {variable.subject: variable.options for variable in space.of("bits")}
    return {region[0].name: found.get(region[0].name, (32,)) for region in regions(space.context)}


# -- the rules ---------------------------------------------------------------------------------------------------------


@given(ratio=ratios(), factor=st.floats(1, 3))
def test_slower_never_makes_a_choice_pay_and_faster_never_unmakes_one(ratio: Ratio, factor: float) -> None:
    before, after = (BitsTime("conv", 8, r).verdict for r in (ratio, times(ratio, factor)))
    order = ("pays", "undecided", "does not pay")
    assert order.index(before) <= order.index(after)


@given(ratio=ratios(), wider=st.floats(1, 1.5))
def test_doubt_decides_nothing(ratio: Ratio, wider: float) -> None:
    sure = BitsTime("conv", 8, ratio).verdict
    vague = replace(ratio, low=ratio.low / wider, high=ratio.high * wider)
    for doubtful in (vague, replace(ratio, disturbed=True)):
        assert BitsTime("conv", 8, doubtful).verdict in (sure, "undecided")


@given(profile=all_profiles(), kind=st.sampled_from(KINDS), bits=st.sampled_from((16, 8)))
def test_bits_are_given_up_only_when_the_lower_end_is_over_the_threshold(
    profile: TargetProfile, kind: str, bits: int
) -> None:
    time = profile.bits_time(kind, bits)
    if time is None or time.ratio.low <= 0.97:
        assert not profile.never_pays(kind, bits)
    elif not time.ratio.disturbed:
        assert profile.never_pays(kind, bits)


@given(profile=all_profiles(), kind=st.sampled_from(KINDS), declared=st.sampled_from((1, 4, 8, 16, 32)))
def test_a_multiple_stays_near_the_declared_one(profile: TargetProfile, kind: str, declared: int) -> None:
    multiple = profile.multiple(kind, replace(CAN, channel_multiple=declared))
    assert multiple == declared or (4 <= multiple <= 32 and declared / 2 <= multiple <= declared * 2)


@pytest.mark.parametrize(
    ("declared", "riser", "expected"), [(16, 16, 16), (8, 16, 16), (16, 8, 8), (8, 4, 4), (16, 4, 8), (32, 32, 32)]
)
def test_the_step_is_that_of_the_staircase(declared: int, riser: int, expected: int) -> None:
    can = Capabilities((32,), (), declared)
    assert TargetProfile((), staircase("conv", 32, riser)).multiple("conv", can) == expected


@pytest.mark.parametrize("step", [8, 16])
def test_an_undecided_or_missing_step_keeps_the_declared_multiple(step: int) -> None:
    can = Capabilities((32,), (), 16)
    stairs = staircase("conv", 32, 32)
    assert TargetProfile((), stairs).multiple("conv", can) == 32
    missing = tuple(t for t in stairs if t.step != step)
    unsure = tuple(replace(t, ratio=Ratio(0.9, 0.6, 1.2)) if t.step == step else t for t in stairs)
    for open_ in (missing, unsure):
        assert TargetProfile((), open_).multiple("conv", can) == 16


@given(profile=all_profiles(), data=st.data(), factor=st.floats(1, 3))
def test_a_step_that_got_slower_is_not_chosen_for_it(
    profile: TargetProfile, data: st.DataObject, factor: float
) -> None:
    if not profile.channels:
        return
    slower = data.draw(st.sampled_from(profile.channels))
    others = tuple(t for t in profile.channels if t is not slower)
    after = replace(profile, channels=(*others, replace(slower, ratio=times(slower.ratio, factor))))
    for declared in (8, 16):
        can = replace(CAN, channel_multiple=declared)
        was, now = profile.multiple(slower.kind, can), after.multiple(slower.kind, can)
        assert now != slower.step or now in (was, declared)


def test_both_precisions_count_and_bits_that_never_pay_do_not() -> None:
    profile = TargetProfile((BitsTime("conv", 8, FAST),), (*staircase("conv", 32, 8), *staircase("conv", 8, 16)))
    assert profile.multiple("conv", CAN) == 16
    never = replace(profile, bits=(BitsTime("conv", 8, SLOW),))
    assert never.multiple("conv", CAN) == 8


@given(profile=all_profiles())
def test_a_profile_survives_json(profile: TargetProfile) -> None:
    assert from_plain(TargetProfile, json.loads(json.dumps(to_plain(profile)))) == profile


@given(one=all_profiles(), other=all_profiles())
def test_merging_loses_nothing_and_the_later_counts(one: TargetProfile, other: TargetProfile) -> None:
    both = one.merged(other)
    assert both.merged(other) == both and one.merged(TargetProfile()) == one
    assert all(both.bits_time(t.kind, t.bits) == t for t in other.bits)
    assert all(both.bits_time(t.kind, t.bits) is not None for t in one.bits)
    assert all(both.channel_time(t.kind, t.bits, t.step) == t for t in other.channels)


@given(one=all_profiles(), other=all_profiles(), kind=st.sampled_from(KINDS))
def test_bits_never_pay_on_several_targets_only_if_on_none_of_them(
    one: TargetProfile, other: TargetProfile, kind: str
) -> None:
    can = Capabilities((32, 16, 8), (), 8)
    joint = joint_profile([(can, one), (can, other)])
    for bits in (16, 8):
        if joint.never_pays(kind, bits):
            assert one.never_pays(kind, bits) and other.never_pays(kind, bits)
    assert joint_profile([(can, one)]) == one


# -- the space ---------------------------------------------------------------------------------------------------------


def test_layers_know_their_kind() -> None:
    conv = torch.nn.Conv2d
    modules = [conv(8, 8, 3), conv(8, 8, 1), conv(8, 16, 3, groups=8), conv(8, 8, 3, groups=4), conv(1, 8, 3)]
    assert [kind_of(m) for m in modules] == ["conv", "pointwise", "depthwise", "conv", "conv"]
    assert kind_of(torch.nn.Linear(3, 3)) == "linear" and kind_of(torch.nn.ReLU()) is None


def counts_of(context: SpaceContext) -> dict[str, tuple[object, ...]]:
    return {variable.subject: variable.options for variable in ChannelsAxis().variables(context)}


def test_groups_snap_to_the_largest_step_of_their_layers() -> None:
    net = nets.net("grouped")  # 3x3 and grouped convolutions, then a 1x1, then a linear layer
    stairs = (t for k in KINDS for b in (32, 8) for t in staircase(k, b, 16 if k == "pointwise" else 8))
    context = replace(net.context, profile=TargetProfile((), tuple(stairs)))
    kinds = {layer.name: layer.kind for layer in net.context.layers}
    found = counts_of(context)
    assert found
    for group in context.groups:
        touched = {kinds[m.layer] for m in group.members if m.layer in kinds}
        step = 16 if "pointwise" in touched else 8
        assert all(int(c) % step == 0 for c in found[group.name])  # type: ignore[call-overload]
    assert {"pointwise", "conv"} <= set(kinds.values())


@pytest.mark.parametrize("name", nets.SMALL)
def test_groups_of_unknown_kinds_snap_as_declared(name: str) -> None:
    context = nets.net(name).context
    empty = replace(context, profile=TargetProfile())
    assert counts_of(empty) == counts_of(context)
    assert BitsAxis().variables(empty) == BitsAxis().variables(context)


SLOW_CONV = TargetProfile(
    (BitsTime("conv", 8, SLOW, "here"), BitsTime("pointwise", 8, UNSURE), BitsTime("linear", 8, FAST))
)
ALL_SLOW = TargetProfile(tuple(BitsTime(kind, 8, SLOW, "here") for kind in KINDS))


def test_bits_are_frozen_where_they_pay_for_no_kind_of_a_region() -> None:
    space = with_profile("digits", SLOW_CONV)
    for region in regions(space.context):
        frozen = {layer.kind for layer in region} == {"conv"}
        assert offered_in(space)[region[0].name] == ((32,) if frozen else (32, 8))
        assert (space.variable(f"bits:{region[0].name}") is None) == frozen
    assert offered(space) == {32, 8}
    (entry,) = (e for e in space.left_out() if "conv" in e.name)
    assert entry.name == "int8 for conv layers"
    assert "1.31 (1.28 to 1.34) of the time of 32 bits on here" in entry.reason


def test_bits_that_pay_nowhere_are_no_decision() -> None:
    space = with_profile("digits", ALL_SLOW)
    assert offered(space) == {32} and not space.of("bits")
    assert space.spec(space.uniform({"channels": 0.5, "bits": 8})).bits == {}
    assert {e.name for e in space.left_out()} >= {"int8 for conv layers", "int8 for linear layers"}


def test_a_uniform_plan_stays_at_32_bits_where_fewer_are_frozen() -> None:
    space = with_profile("digits", SLOW_CONV)
    bits = space.spec(space.uniform({"bits": 8}, space.taught)).bits
    for region in regions(space.context):
        assert {bits.get(layer.name, 32) for layer in region} == {offered_in(space)[region[0].name][-1]}


@pytest.mark.parametrize("changes", [{"storage_counts": True}, {"bits": (8,)}])
def test_what_size_or_the_user_asks_for_is_not_frozen(changes: dict[str, object]) -> None:
    assert 8 in offered(with_profile("digits", ALL_SLOW, **changes))


def test_bits_of_a_whole_network_are_frozen_together_or_not_at_all() -> None:
    can = Capabilities((32, 16, 8), (), 8, one_float=True)
    half = TargetProfile((BitsTime("conv", 16, SLOW), BitsTime("conv", 8, SLOW)))
    assert all(16 in widths for widths in offered_in(with_profile("digits", half, capabilities=can)).values())
    both = TargetProfile(tuple(BitsTime(kind, 16, SLOW) for kind in KINDS))
    assert offered(with_profile("digits", both, capabilities=can)) == {32, 8}


@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(profile=all_profiles(), seed=st.integers(0, 2**32), one_float=st.booleans(), data=st.data())
def test_plans_and_moves_keep_to_what_is_offered(
    profile: TargetProfile, seed: int, one_float: bool, data: st.DataObject
) -> None:
    bits = (32, 16, 8) if one_float else (32, 8)
    space = with_profile("digits", profile, capabilities=Capabilities(bits, (), 8, one_float=one_float))
    source, widths, counts = random.Random(seed), offered_in(space), counts_of(space.context)
    plan = space.repair(data.draw(plans_of(space)))
    for _ in range(10):
        spec = assert_legal(plan, space)
        for region in regions(space.context):
            found = {spec.bits.get(layer.name, 32) for layer in region}
            # one precision of floats goes for the whole network
            assert found <= {*widths[region[0].name]} or (one_float and found == {16})
        assert all(count in counts[name] for name, count in spec.channels.items())
        moved = changed_plan(space, plan, source)
        assert moved != plan
        plan = moved


def test_the_space_is_told_with_the_measured_ratios(capsys: pytest.CaptureFixture[str]) -> None:
    from autocompress.cli.space_table import print_space

    space = with_profile("digits", TargetProfile(SLOW_CONV.bits, staircase("conv", 32, 8)))
    described = json.loads(json.dumps(describe_space(space, (), [Target()], {})))
    assert {e["verdict"] for e in described["profile"]["bits"]} == {"does not pay", "undecided", "pays"}
    assert described["profile"]["steps"]["conv"] == 8
    print_space(described)
    said = capsys.readouterr().out
    assert "1.31" in said and "1.28 to 1.34" in said and "does not pay: kept" in said and "undecided" in said
    frozen = json.loads(json.dumps(describe_space(with_profile("digits", ALL_SLOW), (), [Target()], {})))
    print_space(frozen)
    assert "does not pay: left at 32" in capsys.readouterr().out
    plain = describe_space(nets.net("digits").space, (), [Target()], {})
    assert plain["profile"] is None
    print_space(plain)
    assert "What fewer" not in capsys.readouterr().out


def test_the_decisions_are_told_with_their_options() -> None:
    space = nets.net("digits").space
    described = json.loads(json.dumps(describe_space(space, nets.net("digits").left_out, [Target()], {})))
    assert [v["name"] for v in described["variables"]] == [v.name for v in space]
    by_name = {v["name"]: v for v in described["variables"]}
    assert by_name["recovery:alpha"]["range"] == [0.0, 1.0, "linear"]
    assert by_name["channels:conv1"]["options"] == [16, 8] and by_name["channels:conv1"]["role"] == "stream 1"
    decided = {layer["name"]: layer["variables"] for layer in described["layers"]}
    assert {"channels:conv1", "bits:conv1"} <= set(decided["conv1"])
    assert any(entry["name"] == "linear" for entry in described["left_out"])


def test_an_empty_plan_is_legal_under_any_profile() -> None:
    assert with_profile("digits", ALL_SLOW).repair(Plan()) == Plan()
