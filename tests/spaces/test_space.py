"""The joint space: what it offers on networks of every structure, and what is assembled in it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import nets
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from legality import assert_legal, assert_runs, changed_plan, drawn_plan, plans_of
from rich_spaces import JOINT, rich_context, rich_space

from autocompress.errors import UnknownName
from autocompress.spaces.axes.bits import BitsAxis
from autocompress.spaces.axes.channels import ChannelsAxis
from autocompress.spaces.context import SpaceContext
from autocompress.spaces.plan import Plan
from autocompress.spaces.space import Space, build_space
from autocompress.spaces.spec import Recovery, StudentSpec

SLOW_TO_FIND = [HealthCheck.too_slow]


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
def test_plans_with_one_decision_changed_are_legal(name: str, seed: int) -> None:
    space, source = rich_space(name), random.Random(seed)
    plan = drawn_plan(space, source, space.taught)
    for _ in range(20):
        moved = changed_plan(space, plan, source)
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


def test_padded_shortcuts_let_the_stream_shrink_with_what_is_padded() -> None:
    net = nets.net("cifar_resnet20")
    inner = {f"layer{s}.{b}.conv1" for s in (1, 2, 3) for b in range(3)}
    streams = {"conv1", "layer2.0.conv2", "layer3.0.conv2"}
    assert {group.name for group in net.context.groups} == inner | streams
    assert {group.name for group in net.context.groups if group.kind == "stream"} == streams


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
        moved = changed_plan(space, moved, source)
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


def test_what_was_asked_of_a_specification_does_not_change_what_it_is_known_by() -> None:
    asked, fresh = (StudentSpec(channels={"a": 8}, bits={"b": 8}, recovery=Recovery()) for _ in range(2))
    assert asked.shape_key() != asked.training_key()
    assert asked.key() == fresh.key() and hash(asked) == hash(fresh) and asked == fresh
    assert asked.shape_key() == replace(asked, recovery=None).key()
