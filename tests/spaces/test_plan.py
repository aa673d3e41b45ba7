"""Plans and specifications: equal ones are equal everywhere, and their keys tell apart exactly what they should."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from autocompress.spaces.factors import Factor
from autocompress.spaces.plain import from_plain, to_plain
from autocompress.spaces.plan import Plan
from autocompress.spaces.spec import Pattern, Recovery, StudentSpec

names = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=8)
options = st.integers(1, 512) | st.floats(0.05, 0.95) | st.text(max_size=6)
plans = st.builds(Plan, st.dictionaries(names, options, max_size=6))
rates = st.floats(0.05, 0.95)
factors = st.builds(Factor, st.sampled_from(["rank", "separable"]), st.integers(0, 64))
recoveries = st.builds(
    Recovery,
    st.floats(1, 10),
    st.floats(0, 1),
    st.floats(0.001, 0.1),
    st.floats(0, 1),
    st.booleans(),
)
specs = st.builds(
    StudentSpec,
    channels=st.dictionaries(names, st.integers(1, 512), max_size=4),
    bits=st.dictionaries(names, st.sampled_from([4, 8, 16]), max_size=4),
    patterns=st.dictionaries(names, st.builds(Pattern, st.sampled_from(["unstructured", "2:4"]), rates), max_size=4),
    recovery=st.none() | recoveries,
    target=st.sampled_from(["", "onnxruntime", "tensorrt@cuda"]),
    replacements=st.dictionaries(names, st.sampled_from(["ReLU", "Identity"]), max_size=3),
    dropped=st.lists(names, max_size=3).map(tuple),
    size=st.sampled_from([0, 16, 24]),
    student=st.sampled_from(["", "mobile@0.5"]),
    activations=st.dictionaries(names, st.sampled_from(["dynamic", "float"]), max_size=3),
    factors=st.dictionaries(names, factors, max_size=3),
)


def shuffled(values: Any, random: Any) -> dict[Any, Any]:
    items = list(values.items())
    random.shuffle(items)
    return dict(items)


# -- plans -------------------------------------------------------------------------------------------------------------


@given(plans)
def test_a_plan_survives_json(plan: Plan) -> None:
    again = Plan.from_json(plan.to_json())
    assert again == plan and hash(again) == hash(plan) and again.key() == plan.key()
    assert from_plain(Plan, to_plain(plan)) == plan


@given(plans, st.randoms())
def test_the_order_of_decisions_does_not_matter(plan: Plan, random: Any) -> None:
    other = Plan(shuffled(plan.choices, random))
    assert other == plan and hash(other) == hash(plan)
    assert other.to_json() == plan.to_json() and other.key() == plan.key()


@given(plans, plans)
def test_keys_are_equal_exactly_when_plans_are(a: Plan, b: Plan) -> None:
    assert (a.key() == b.key()) == (a == b)


@given(plans, names, options)
def test_any_change_changes_the_key(plan: Plan, name: str, option: Any) -> None:
    changed = plan.changed({name: option})
    assert changed.choices[name] == option
    assert (changed.key() == plan.key()) == (plan.choices.get(name) == option)


@given(plans)
def test_a_plan_cannot_be_changed_through_what_it_was_made_of(plan: Plan) -> None:
    choices = dict(plan.choices)
    made = Plan(choices)
    key = made.key()
    choices["later"] = 3
    assert made.key() == key


def test_the_choices_of_one_axis_are_told_by_what_they_are_about() -> None:
    plan = Plan({"channels:conv1": 8, "channels:b:c": 4, "width": 0.5, "bits:conv1": 8, "target": "there"})
    assert plan.of("channels") == {"conv1": 8, "b:c": 4}
    assert plan.of("width") == {"width": 0.5} and plan.of("target") == {"target": "there"}
    assert plan.of("recovery") == {}
    assert plan.without("channels", "target") == Plan({"width": 0.5, "bits:conv1": 8})
    assert plan.without() == plan


# -- what plans do to a teacher ----------------------------------------------------------------------------------------


@given(specs)
def test_a_specification_survives_json(spec: StudentSpec) -> None:
    again = from_plain(StudentSpec, to_plain(spec))
    assert again == spec and hash(again) == hash(spec) and again.key() == spec.key()


@given(specs, st.randoms())
def test_the_order_of_its_parts_does_not_matter(spec: StudentSpec, random: Any) -> None:
    names_of_parts = ("channels", "bits", "patterns", "replacements", "activations", "factors")
    parts = {name: shuffled(getattr(spec, name), random) for name in names_of_parts}
    other = replace(spec, **parts, dropped=spec.dropped[::-1])
    assert other == spec and hash(other) == hash(spec)
    assert other.to_json() == spec.to_json() and other.key() == spec.key()


@given(specs, specs)
def test_keys_are_equal_exactly_when_specifications_are(a: StudentSpec, b: StudentSpec) -> None:
    assert (a.key() == b.key()) == (a == b)


@given(specs, names)
def test_any_change_of_a_specification_changes_its_key(spec: StudentSpec, name: str) -> None:
    changed = [
        replace(spec, channels={**spec.channels, name: spec.channels.get(name, 7) + 1}),
        replace(spec, bits={**spec.bits, name: {4: 8, 8: 16, 16: 4}[spec.bits.get(name, 8)]}),
        replace(spec, patterns={**spec.patterns, name: Pattern("unstructured", 0.01)}),
        replace(spec, replacements={**spec.replacements, name: "Hardswish"}),
        replace(spec, target="elsewhere"),
        replace(spec, size=spec.size + 1),
        replace(spec, student=f"{spec.student}x"),
        replace(spec, factors={**spec.factors, name: Factor("rank", 65)}),
        replace(spec, dropped=tuple(set(spec.dropped) ^ {name})),
        replace(spec, recovery=Recovery() if spec.recovery is None else None),
        replace(spec, activations={**spec.activations, name: "float" if name not in spec.activations else "other"}),
    ]
    parts = {"channels", "bits", "patterns", "recovery", "target", "replacements", "dropped", "size"}
    parts |= {"student", "activations", "factors"}
    assert {field.name for field in fields(StudentSpec)} == parts, "a new part needs a line above"
    if spec.recovery is not None:
        for field in fields(Recovery):
            old = getattr(spec.recovery, field.name)
            new = not old if isinstance(old, bool) else "adamw" if isinstance(old, str) else old + 0.5
            changed.append(replace(spec, recovery=replace(spec.recovery, **{field.name: new})))
    keys = {spec.key(), *(p.key() for p in changed)}
    assert len(keys) == len(changed) + 1


@given(specs, st.none() | recoveries)
def test_how_a_student_is_taught_does_not_change_its_latency(spec: StudentSpec, recovery: Recovery | None) -> None:
    assert replace(spec, recovery=recovery).shape_key() == spec.shape_key()


@given(specs, specs)
def test_other_shapes_have_other_shape_keys(a: StudentSpec, b: StudentSpec) -> None:
    assume(replace(a, recovery=None) != replace(b, recovery=None))
    assert a.shape_key() != b.shape_key()


@given(specs, st.dictionaries(names, st.sampled_from([4, 8, 16]), max_size=3))
def test_bits_count_for_training_only_where_training_sees_them(spec: StudentSpec, bits: dict[str, int]) -> None:
    other = replace(spec, bits=bits)
    aware = spec.recovery is not None and spec.recovery.quantization_aware
    assert (other.training_key() == spec.training_key()) == (not aware or other == spec)


@given(specs, st.text(max_size=5))
def test_a_training_serves_every_target(spec: StudentSpec, target: str) -> None:
    assert replace(spec, target=target).training_key() == spec.training_key()


@given(specs)
def test_a_specification_cannot_be_changed_through_what_it_was_made_of(spec: StudentSpec) -> None:
    channels = dict(spec.channels)
    made = StudentSpec(channels=channels)
    key = made.key()
    channels["later"] = 3
    assert made.key() == key


@pytest.mark.parametrize("data", [{"bits": {"a": "many"}}, {"recovery": {"alpha": "much"}}, [1, 2], "no"])
def test_what_is_no_specification_is_refused(data: Any) -> None:
    with pytest.raises(ValueError):
        from_plain(StudentSpec, data)
