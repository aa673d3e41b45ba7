"""What tests ask of any plan of a space, and how they draw one."""

from __future__ import annotations

import random

import torch
from hypothesis import strategies as st
from nets import net

from autocompress.spaces.plan import Plan
from autocompress.spaces.space import Space
from autocompress.spaces.spec import StudentSpec
from autocompress.spaces.variables import Option, Variable


def options_of(variable: Variable) -> st.SearchStrategy[Option]:
    """Any option that a variable offers."""
    if variable.bounds is not None:
        return st.floats(variable.bounds.low, variable.bounds.high)
    return st.sampled_from(variable.options)


def plans_of(space: Space) -> st.SearchStrategy[Plan]:
    """Any options of any variables, legal together or not."""
    return st.fixed_dictionaries({}, optional={v.name: options_of(v) for v in space}).map(Plan)


WILD: st.SearchStrategy[Option] = st.integers(-3, 2000) | st.floats() | st.text(max_size=4)


def wild_plans_of(space: Space) -> st.SearchStrategy[Plan]:
    """Options that nobody offers, of variables that may not exist."""
    known = st.fixed_dictionaries({}, optional={v.name: options_of(v) | WILD for v in space})
    unknown = st.dictionaries(st.text(max_size=4), WILD, max_size=2)
    return st.tuples(unknown, known).map(lambda both: Plan({**both[0], **both[1]}))


def drawn_plan(space: Space, source: random.Random, like: Plan | None = None) -> Plan:
    """A legal plan with any design, whose other decisions are those of `like`."""
    return space.assemble([source.randrange(len(v.options)) for v in space.network], like or Plan())


def changed_plan(space: Space, plan: Plan, source: random.Random) -> Plan:
    """A legal plan in which one decision that a search makes is another one than in `plan`."""
    found = plan
    while found == plan:
        variable = source.choice([v for v in space.variables if v.is_searched])
        option = variable.bounds.clip(source.uniform(0, 10)) if variable.bounds else source.choice(variable.drawn)
        found = space.repair(plan.changed({variable.name: option}))
    return found


def assert_legal(plan: Plan, space: Space) -> StudentSpec:
    """A legal plan has options of the space alone, and gives a student that its targets can run."""
    assert space.repair(plan) == plan, "what is legal needs no repair"
    for name, option in plan.choices.items():
        variable = space.variable(name)
        assert variable is not None, f"{name} is no variable of this space"
        assert option != variable.options[0], "the first option goes without saying"
        if variable.bounds is None:
            assert option in variable.options
        else:
            assert isinstance(option, float) and variable.bounds.low <= option <= variable.bounds.high
    return assert_legal_spec(space.spec(plan), space)


def assert_legal_spec(spec: StudentSpec, space: Space) -> StudentSpec:
    context = space.context
    counts = {
        group.name: group.choices(context.channel_multiple(group), context.min_fraction)[:-1]
        for group in context.groups
    }
    assert all(count in counts[name] for name, count in spec.channels.items())
    layers = {layer.name for layer in context.layers}
    assert {*spec.bits, *spec.patterns} <= layers - context.keep or context.capabilities.one_float
    can = context.capabilities_of(spec.target)
    assert {*spec.bits.values()} <= can.runnable_bits - {32}
    widths = {spec.bits.get(name, 32) for name in layers}
    assert not (can.one_float and {16, 32} <= widths), "all float layers of a file run in one precision"
    assert all(0 < p.rate < 1 for p in spec.patterns.values())
    assert spec.target in ("", *context.targets)
    if spec.recovery is not None and spec.recovery.quantization_aware:
        assert any(b < 16 for b in spec.bits.values()), "nothing to be aware of"
    return spec


def assert_runs(name: str, spec: StudentSpec) -> None:
    """The student of one of `nets` gives finite outputs of the right shape."""
    found = net(name)
    student = found.student(spec).module.eval()
    with torch.no_grad():
        outputs = student(found.inputs(2))
    assert outputs.shape == (2, 10) and bool(torch.isfinite(outputs).all())
