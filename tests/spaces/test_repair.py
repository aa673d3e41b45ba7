"""Every plan is made legal, once and for all, whatever the network's structure."""

from __future__ import annotations

from dataclasses import replace

import nets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from legality import assert_legal, plans_of, wild_plans_of
from rich_spaces import choosing_space, one_float_space, rich_context, rich_space

from autocompress.spaces.plan import Plan
from autocompress.spaces.space import Space
from autocompress.spaces.spec import Recovery, StudentSpec

SLOW_TO_FIND = [HealthCheck.too_slow]


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


def test_other_ways_to_teach_are_offered_only_where_they_are_asked_for() -> None:
    before, context = rich_space(), replace(rich_context(), recovery=Recovery(tune="lora", rank=4))
    method = before.variable("recovery:method")
    assert method is not None and method.options == ("none", "full") and not method.is_searched
    space = nets.space_over(replace(context, ways=("lora", "full", "bitfit")), "bits", "recovery")
    method = space.variable("recovery:method")
    assert method is not None and method.options == ("none", "full", "bitfit", "lora")
    assert method.drawn == ("lora", "full", "bitfit"), "the teacher's own way is never drawn"
    assert space.spec(space.taught).recovery == Recovery(tune="lora", rank=4)
    for way in ("full", "bitfit"):
        found = space.spec(space.taught.changed({"recovery:method": way})).recovery
        assert found == Recovery(tune=way), "a rank that nothing has makes no other student"
    held = nets.space_over(replace(context, ways=("lora",)), "bits")
    assert held.spec(held.taught).recovery == Recovery(tune="lora", rank=4)
    assert not any(variable.is_searched for variable in held.of("recovery"))


def test_new_weights_are_all_trained() -> None:
    space = nets.space_over(replace(rich_context(), ways=("classifier", "full")), "bits", "recovery")
    recovery = space.spec(space.taught.changed({"recovery:start": "new"})).recovery
    assert recovery is not None and recovery.fresh and recovery.tune == "full"


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


def test_the_default_of_a_number_is_no_choice_however_many_digits_it_has() -> None:
    space = nets.space_over(replace(rich_context(), recovery=Recovery(learning_rate=0.02 / 3)), "recovery")
    rate = space.variable("recovery:learning_rate")
    assert rate is not None
    for said in (rate.options[0], 0.00667, 0.006668):
        assert space.repair(space.taught.changed({rate.name: said})) == space.taught
    other = space.repair(space.taught.changed({rate.name: 0.00668}))
    assert other.choices[rate.name] == 0.00668
