"""Plans: equal ones are equal everywhere, and their keys tell apart exactly what they should."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from autocompress.spaces.plan import Pattern, Plan, Recovery

names = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=8)
rates = st.floats(0.05, 0.95)
recoveries = st.builds(
    Recovery,
    st.floats(1, 10),
    st.floats(0, 1),
    st.floats(0.001, 0.1),
    st.floats(0, 1),
    st.booleans(),
)
plans = st.builds(
    Plan,
    channels=st.dictionaries(names, st.integers(1, 512), max_size=4),
    bits=st.dictionaries(names, st.sampled_from([4, 8, 16]), max_size=4),
    patterns=st.dictionaries(names, st.builds(Pattern, st.sampled_from(["unstructured", "2:4"]), rates), max_size=4),
    recovery=st.none() | recoveries,
)


@given(plans)
def test_a_plan_survives_json(plan: Plan) -> None:
    again = Plan.from_json(plan.to_json())
    assert again == plan and hash(again) == hash(plan) and again.key() == plan.key()
    assert Plan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan


@given(plans, st.randoms())
def test_the_order_of_decisions_does_not_matter(plan: Plan, random: Any) -> None:
    def shuffled(values: Any) -> dict[Any, Any]:
        items = list(values.items())
        random.shuffle(items)
        return dict(items)

    other = Plan(shuffled(plan.channels), shuffled(plan.bits), shuffled(plan.patterns), plan.recovery)
    assert other == plan and hash(other) == hash(plan)
    assert other.to_json() == plan.to_json() and other.key() == plan.key()


@given(plans, plans)
def test_keys_are_equal_exactly_when_plans_are(a: Plan, b: Plan) -> None:
    assert (a.key() == b.key()) == (a == b)


@given(plans, names)
def test_any_change_changes_the_key(plan: Plan, name: str) -> None:
    changed = [
        replace(plan, channels={**plan.channels, name: plan.channels.get(name, 7) + 1}),
        replace(plan, bits={**plan.bits, name: {4: 8, 8: 16, 16: 4}[plan.bits.get(name, 8)]}),
        replace(plan, patterns={**plan.patterns, name: Pattern("unstructured", 0.01)}),
        replace(plan, recovery=Recovery() if plan.recovery is None else None),
    ]
    if plan.recovery is not None:
        for field in fields(Recovery):
            old = getattr(plan.recovery, field.name)
            new = (not old) if isinstance(old, bool) else old + 0.5
            changed.append(replace(plan, recovery=replace(plan.recovery, **{field.name: new})))
    keys = {plan.key(), *(p.key() for p in changed)}
    assert len(keys) == len(changed) + 1


@given(plans, st.none() | recoveries)
def test_how_a_student_is_taught_does_not_change_its_latency(plan: Plan, recovery: Recovery | None) -> None:
    assert replace(plan, recovery=recovery).shape_key() == plan.shape_key()


@given(plans, plans)
def test_other_shapes_have_other_shape_keys(a: Plan, b: Plan) -> None:
    assume((a.channels, a.bits, a.patterns) != (b.channels, b.bits, b.patterns))
    assert a.shape_key() != b.shape_key()


@given(plans, st.dictionaries(names, st.sampled_from([4, 8, 16]), max_size=3))
def test_bits_count_for_training_only_where_training_sees_them(plan: Plan, bits: dict[str, int]) -> None:
    other = replace(plan, bits=bits)
    aware = plan.recovery is not None and plan.recovery.quantization_aware
    assert (other.training_key() == plan.training_key()) == (not aware or other == plan)


@given(plans)
def test_a_plan_cannot_be_changed_through_what_it_was_made_of(plan: Plan) -> None:
    channels = dict(plan.channels)
    made = Plan(channels=channels)
    key = made.key()
    channels["later"] = 3
    assert made.key() == key
