"""The plans that a study begins with for students of the user's own: each student as it is, and few of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from nets import net

from autocompress.search.propose.initial_design import initial_design
from autocompress.search.propose.own_designs import own_students
from autocompress.spaces.axes.bits import BitsAxis
from autocompress.spaces.axes.channels import ChannelsAxis
from autocompress.spaces.axes.recovery import RecoveryAxis
from autocompress.spaces.axes.student import StudentAxis
from autocompress.spaces.network import Network
from autocompress.spaces.space import Space
from autocompress.spaces.union import united

NAMES = ("a", "a@0.75", "a@0.5", "b", "b@0.75", "b@0.5", "c")


def space(names: tuple[str, ...], bits: tuple[int, ...] = (32, 16, 8, 4)) -> Space:
    context = net("digits").context
    can = replace(context.capabilities, latency_bits=bits, storage_bits=())
    layers = {name: tuple(replace(each, name=f"{name}.{each.name}") for each in context.layers) for name in names}
    networks = {name: Network(layers[name], (), (), ()) for name in names}
    axes = [StudentAxis(), ChannelsAxis(), BitsAxis(), RecoveryAxis()]
    return Space(united(replace(context, capabilities=can), networks), axes)


@pytest.mark.parametrize("bits", [(32,), (32, 16), (32, 8), (32, 16, 8, 4)])
def test_each_student_is_tried_and_narrower_forms_once(bits: tuple[int, ...]) -> None:
    found = space(NAMES, bits)
    specs = [found.spec(design.plan) for design in own_students(found)]
    tried: dict[str, set[tuple[bool, int]]] = {name: set() for name in NAMES}
    for spec in specs:
        tried[spec.student].add((spec.recovery is not None, min(spec.bits.values(), default=32)))
    lowest = 8 if 8 in bits else min(bits)
    for name, ways in tried.items():
        whole = {(taught, width) for taught in (False, True) for width in (32, lowest)}
        assert ways == ({(True, lowest)} if "@" in name else whole)
    assert len(specs) <= 4 * 3 + 4


def test_a_study_of_many_students_begins_with_few_plans_more_than_one_of_none() -> None:
    alone, many = (len(initial_design(space(names))) for names in ((), NAMES))
    assert many - alone <= 2 * len(NAMES) + 2
    assert not list(own_students(space(())))
