"""The joint space: every plan is made legal, once and for all, whatever the network's structure."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import nets
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from legality import assert_legal, assert_runs, drawn_plan, plans_of, wild_plans_of

from autocompress.errors import UnknownName
from autocompress.spaces.axes.bits import BitsAxis
from autocompress.spaces.axes.channels import ChannelsAxis
from autocompress.spaces.axes.target import TargetAxis
from autocompress.spaces.context import SpaceContext
from autocompress.spaces.neighbours.moves import Mover
from autocompress.spaces.plan import Plan
from autocompress.spaces.space import Space, build_space
from autocompress.spaces.spec import Recovery, StudentSpec
from autocompress.spaces.target import Capabilities

JOINT = ("channels", "pattern", "bits", "recovery")
SLOW_TO_FIND = [HealthCheck.too_slow]


def rich_context(name: str = "digits") -> SpaceContext:
    """A context where every axis has something to decide."""
    return replace(nets.net(name).context, storage_counts=True)


def rich_space(name: str = "digits", axes: Sequence[str] = JOINT) -> Space:
    return nets.space_over(rich_context(name), *axes)


def one_float_space(name: str = "digits") -> Space:
    """Both precisions of floats, of which a file has one."""
    can = Capabilities((32, 16, 8), (), 8, one_float=True)
    return nets.space_over(replace(nets.net(name).context, capabilities=can), *JOINT)


HERE = Capabilities((32, 8), (), 8)
THERE = Capabilities((32, 16), (), 8, one_float=True)


def choosing_space(name: str = "digits") -> Space:
    """Each plan chooses one of two targets that can use different things."""
    from autocompress.spaces.target import joint_capabilities

    joint = joint_capabilities([HERE, THERE], any_of=True)
    context = replace(nets.net(name).context, capabilities=joint, targets={"here": HERE, "there": THERE}, axes=JOINT)
    return Space(context, [*(nets.AXES[axis] for axis in JOINT), TargetAxis()])


KINDS = {"rich": rich_space, "one float": one_float_space, "choosing": choosing_space}


@pytest.fixture(scope="module", params=[*KINDS, "width"])
def any_space(request: pytest.FixtureRequest) -> Space:
    if request.param == "width":
        return rich_space(axes=("width", "bits", "recovery"))
    return KINDS[request.param]()


# -- repair ------------------------------------------------------------------------------------------------------------


@settings(suppress_health_check=SLOW_TO_FIND)
@given(data=st.data())
def test_repair_makes_any_plan_legal_and_changes_no_legal_one(any_space: Space, data: st.DataObject) -> None:
    plan = data.draw(wild_plans_of(any_space))
    legal = any_space.repair(plan)
    assert_legal(legal, any_space)
    assert any_space.spec(plan) == any_space.spec(legal)


@settings(suppress_health_check=SLOW_TO_FIND)
@given(data=st.data())
def test_a_legal_plan_survives_json(any_space: Space, data: st.DataObject) -> None:
    plan = any_space.repair(data.draw(plans_of(any_space)))
    again = Plan.from_json(plan.to_json())
    assert again == plan and again.key() == plan.key()
    assert any_space.repair(again) == plan and any_space.spec(again) == any_space.spec(plan)


@settings(suppress_health_check=SLOW_TO_FIND)
@given(data=st.data())
def test_the_plan_means_the_same_in_a_space_made_anew(any_space: Space, data: st.DataObject) -> None:
    plan = data.draw(plans_of(any_space))
    anew = Space(any_space.context, any_space.axes[::-1])
    assert anew.repair(plan) == any_space.repair(plan) and anew.spec(plan) == any_space.spec(plan)


def test_the_empty_plan_is_the_teacher(any_space: Space) -> None:
    assert any_space.repair(Plan()) == Plan()
    assert replace(any_space.spec(Plan()), target="") == StudentSpec()


@settings(suppress_health_check=SLOW_TO_FIND)
@given(data=st.data())
def test_quantization_aware_training_only_where_bits_are_low(data: st.DataObject) -> None:
    space = rich_space()
    plan = data.draw(plans_of(space)).changed({"recovery:method": "full", "recovery:quantization": "aware"})
    legal = space.repair(plan)
    low = any(width < 16 for width in space.spec(legal).bits.values())
    assert (legal.choices.get("recovery:quantization") == "aware") == low
    recovery = space.spec(legal).recovery
    assert recovery is not None and recovery.quantization_aware == low


def test_a_student_that_is_not_taught_has_no_settings_of_teaching() -> None:
    space = rich_space()
    asked = Plan({"recovery:alpha": 0.1, "recovery:quantization": "aware", "bits:conv1": 8})
    assert space.repair(asked) == Plan({"bits:conv1": 8})
    assert space.spec(asked).recovery is None
    assert space.spec(space.taught) == StudentSpec(recovery=Recovery())
    assert space.spec(asked.changed(space.taught.choices)).recovery == Recovery(alpha=0.1, quantization_aware=True)


def test_without_the_axis_students_are_taught_in_the_default_way() -> None:
    default = Recovery(alpha=0.2, quantization_aware=True)
    space = nets.space_over(replace(rich_context(), recovery=default), "bits")
    assert not any(variable.is_searched for variable in space.of("recovery"))
    assert space.spec(space.taught).recovery == replace(default, quantization_aware=False), "nothing to be aware of"
    assert space.spec(space.uniform({"bits": 8}, space.taught)).recovery == default


@settings(max_examples=30, suppress_health_check=SLOW_TO_FIND)
@given(data=st.data())
def test_one_float_precision_goes_for_all_layers_of_any_target(data: st.DataObject) -> None:
    for space in (one_float_space(), choosing_space()):
        plan = data.draw(plans_of(space))
        for target in space.options("target") or ("",):
            spec = assert_legal(space.repair(plan.changed({"target": target} if target else {})), space)
            if space.context.capabilities_of(spec.target).one_float and 16 in spec.bits.values():
                assert set(spec.bits) == {layer.name for layer in space.context.layers}


def test_a_plan_is_repaired_to_what_its_own_target_runs() -> None:
    space = choosing_space()
    wanted = {variable.name: 8 for variable in space.of("bits")}
    here, there = (space.repair(Plan({**wanted, "target": name})) for name in ("here", "there"))
    assert set(space.spec(here).bits.values()) == {8} and space.spec(here).target == "here"
    assert set(space.spec(there).bits.values()) == {16} and space.spec(there).target == "there", "the next wider one"
    assert space.spec(Plan()).target == "here", "the first where nothing is chosen"


# -- designs: one option at each place of the network ------------------------------------------------------------------


@settings(max_examples=30, suppress_health_check=SLOW_TO_FIND)
@given(data=st.data())
def test_what_is_assembled_is_chosen_again(any_space: Space, data: st.DataObject) -> None:
    indices = tuple(data.draw(st.integers(0, len(v.options) - 1)) for v in any_space.network)
    plan = any_space.assemble(indices, any_space.taught)
    again = any_space.indices(plan)
    assert any_space.assemble(again, plan) == plan
    if not any(can.one_float for can in (any_space.context.capabilities, *any_space.context.targets.values())):
        assert again == indices or "target" in {v.axis for v in any_space}, "nothing here needs repair"


def test_the_first_options_are_the_teacher(any_space: Space) -> None:
    nothing = (0,) * len(any_space.network)
    assert any_space.assemble(nothing, Plan()) == Plan()
    assert any_space.indices(Plan()) == nothing


def test_decisions_outside_the_network_are_those_of_the_other_plan(any_space: Space) -> None:
    like = any_space.repair(any_space.taught.changed({"recovery:alpha": 0.25, "bits:conv1": 8}))
    plan = any_space.assemble([len(v.options) - 1 for v in any_space.network], like)
    assert plan.of("recovery").items() >= like.of("recovery").items()


@pytest.mark.parametrize(
    ("options", "spec"),
    [
        ({"channels": 1.0, "bits": 32}, lambda spec: spec == StudentSpec()),
        ({"channels": 0.5}, lambda spec: set(spec.channels.values()) == {8, 16, 32} and not spec.bits),
        ({"bits": 8}, lambda spec: set(spec.bits.values()) == {8} and not spec.channels),
        ({"bits": 3}, lambda spec: spec == StudentSpec()),
        ({"pattern": "2:4"}, lambda spec: {p.kind for p in spec.patterns.values()} == {"2:4"}),
        ({"no such axis": 1.0}, lambda spec: spec == StudentSpec()),
    ],
)
def test_uniform_plans_treat_all_variables_of_an_axis_alike(options: dict[str, float], spec: object) -> None:
    found = rich_space()
    assert spec(found.spec(found.uniform(options)))  # type: ignore[operator]


# -- networks of every structure ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", nets.ALL)
@settings(max_examples=12, suppress_health_check=SLOW_TO_FIND)
@given(data=st.data())
def test_every_plan_is_legal_and_its_student_runs(name: str, data: st.DataObject) -> None:
    space = rich_space(name)
    plan = space.repair(data.draw(plans_of(space)))
    assert_runs(name, assert_legal(plan, space))


@pytest.mark.parametrize("name", nets.ALL)
@settings(max_examples=10, suppress_health_check=SLOW_TO_FIND)
@given(seed=st.integers(0, 2**32))
def test_moves_are_legal_and_go_somewhere(name: str, seed: int) -> None:
    space, source = rich_space(name), random.Random(seed)
    plan, mover = drawn_plan(space, source, space.taught), Mover(space)
    for _ in range(20):
        moved = mover.move(plan, source)
        assert moved != plan
        assert_legal(moved, space)
        plan = moved
    assert_runs(name, space.spec(plan))


@pytest.mark.parametrize("name", nets.ALL)
def test_the_classifier_keeps_its_classes_and_the_reason_is_told(name: str) -> None:
    net = nets.net(name)
    last = net.context.layers[-1].name
    reasons = {entry.name: entry.reason for entry in net.left_out}
    assert "output shape" in reasons[last]
    assert last not in {group.name for group in net.context.groups}
    assert net.context.groups, "and all the rest is not left out with it"


def test_padded_shortcuts_leave_the_stream_out_and_offer_what_is_inside_blocks() -> None:
    net = nets.net("cifar_resnet20")
    inner = {f"layer{s}.{b}.conv1" for s in (1, 2, 3) for b in range(3)}
    assert inner <= {group.name for group in net.context.groups}
    reasons = {entry.name: entry.reason for entry in net.left_out}
    assert reasons.get("conv1"), "the residual stream cannot shrink past zeros of a fixed width"


def test_convolution_shortcuts_let_the_stream_shrink() -> None:
    groups = {group.name: group for group in nets.net("digits").context.groups}
    assert any(group.kind == "stream" for group in groups.values())
    assert groups["layer1.0.conv1"].kind == "inner"


def test_grouped_convolutions_keep_equal_blocks() -> None:
    net = nets.net("grouped")
    grouped = next(g for g in net.context.groups if "3" in {m.layer for m in g.members})
    assert grouped.blocks == 4
    assert all(count % 4 == 0 for count in grouped.choices(8, 0.25))
    kept = torch.tensor(grouped.keep(grouped.channels // 2))
    per_block = torch.bincount(kept // (grouped.channels // 4), minlength=4)
    assert len(set(per_block.tolist())) == 1


# -- what is left as it is ---------------------------------------------------------------------------------------------

KEPT = ("layer1.0.conv1", "layer2.1.conv2", "linear")


@given(data=st.data(), seed=st.integers(0, 2**32))
@settings(max_examples=20, suppress_health_check=SLOW_TO_FIND)
def test_kept_layers_stay_as_they_are(data: st.DataObject, seed: int) -> None:
    space = nets.space_over(replace(rich_context(), keep=frozenset(KEPT)), *JOINT)
    plan = space.repair(data.draw(plans_of(space)))
    moved, source = plan, random.Random(seed)
    for _ in range(10):
        moved = Mover(space).move(moved, source)
    net = nets.net("digits")
    for spec in (space.spec(plan), space.spec(moved)):
        assert not {*spec.bits, *spec.patterns} & set(KEPT)
        student = net.student(spec).module
        for name in KEPT:
            assert student.get_submodule(name).weight.shape[0] == net.model.get_submodule(name).weight.shape[0]


def test_kept_groups_are_told() -> None:
    space = nets.space_over(replace(rich_context(), keep=frozenset(KEPT)), *JOINT)
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
        build_space(replace(nets.net("digits").context, keep=frozenset(keep)), axes)


def test_every_space_knows_whether_a_student_is_taught() -> None:
    space = build_space(nets.net("digits").context, ("channels",))
    assert {variable.name for variable in space} > {"recovery:method"}
    assert space.context.axes == ("channels",)
    assert space.variable("recovery:method") is not None
    asked = Plan({"recovery:method": "full", "recovery:alpha": 0.0})
    recovery = space.spec(asked).recovery
    assert recovery is not None and recovery.alpha == 0.0, "what is made by hand may teach in its own way"


def test_a_network_that_cannot_be_traced_leaves_all_groups_out() -> None:
    from autocompress.spaces.groups import find_groups

    class Odd(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.zeros(len(x), 2)

    groups, left_out = find_groups(Odd(), torch.zeros(1, 3), {})
    assert groups == () and all(entry.reason for entry in left_out)


def test_the_storage_only_choices_come_with_a_limit_on_size() -> None:
    axis = BitsAxis()

    def offered(context: SpaceContext) -> set[object]:
        return {option for variable in axis.variables(context) for option in variable.options}

    plain, counted = nets.net("digits").context, rich_context()
    assert offered(plain) == {32, 8} and {e.name for e in axis.left_out(plain)} == {"4 bits", "16 bits"}
    assert offered(counted) == {32, 16, 8, 4} and not axis.left_out(counted)


def test_the_width_is_no_decision_beside_the_width_of_every_group() -> None:
    both = nets.space_over(rich_context(), "channels", "width")
    assert both.of("channels") and not both.of("width")
    alone = nets.space_over(rich_context(), "width")
    assert [v.name for v in alone.of("width")] == ["width"] and not alone.of("channels")


@given(widths=st.tuples(st.floats(0.1, 1), st.floats(0.1, 1)))
@settings(max_examples=20, suppress_health_check=SLOW_TO_FIND)
@pytest.mark.parametrize("axis", ["channels", "width"])
def test_a_wider_student_keeps_no_fewer_channels(axis: str, widths: tuple[float, float]) -> None:
    space = nets.space_over(nets.net("digits").context, axis)
    narrow, wide = (space.spec(space.uniform({axis: width})).channels for width in sorted(widths))
    for variable in ChannelsAxis().variables(space.context):
        full = int(variable.options[0])
        assert narrow.get(variable.subject, full) <= wide.get(variable.subject, full)
