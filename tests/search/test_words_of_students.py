"""Plans in words, where students of the user's own stand beside the teacher: what is counted is the network's own."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from nets import net

from autocompress.search.report.html.wording import PlanWords
from autocompress.search.report.space_report import describe_space
from autocompress.search.trial import Origin, Trial, TrialState
from autocompress.spaces.network import Network
from autocompress.spaces.plan import Plan
from autocompress.spaces.space import Space, build_space
from autocompress.spaces.spec import StudentSpec
from autocompress.spaces.union import united


def space(students: bool) -> Space:
    context = replace(net("digits").context, axes=("channels", "bits"))
    layers, groups = (
        tuple(replace(each, name=f"own.{each.name}") for each in context.layers[:-1]),
        tuple(replace(each, name=f"own.{each.name}", members=()) for each in context.groups[:1]),
    )
    own = {"small": Network(layers, groups, (), ())}
    return build_space(united(context, own) if students else context, ("student", "channels", "bits"))


def described(found: Space) -> dict[str, Any]:
    kept: dict[str, Any] = json.loads(json.dumps(describe_space(found, (), (), {})))
    return kept


def words(space: dict[str, Any], spec: StudentSpec) -> list[str]:
    return PlanWords(space).of(Trial(1, Plan({"x": 1}), spec, Origin.SEARCH, "search", TrialState.FINISHED))


@pytest.mark.parametrize("students", [True, False])
def test_half_of_a_network_is_half_of_it_whatever_stands_beside_it(students: bool) -> None:
    found = space(students)
    own = [g for g in found.context.groups if not g.name.startswith("own.")]
    half = StudentSpec({g.name: g.channels // 2 for g in own}, bits={found.context.layers[0].name: 8})
    layers = sum(not layer.name.startswith("own.") for layer in found.context.layers)
    told = words(described(found), half)
    assert f"50 % of channels ({len(own)} of {len(own)} groups narrower)" in told
    assert f"8 bits in 1 of {layers} layers" in told


def test_a_student_is_counted_by_itself() -> None:
    found = space(students=True)
    (group,) = (g for g in found.context.groups if g.name.startswith("own."))
    layers = [layer.name for layer in found.context.layers if layer.name.startswith("own.")]
    spec = StudentSpec({group.name: group.channels // 4}, student="small", bits={layers[0]: 8})
    told = words(described(found), spec)
    assert "25 % of channels (1 of 1 groups narrower)" in told
    assert f"8 bits in 1 of {len(layers)} layers" in told


def test_a_study_of_one_network_names_none() -> None:
    alone = described(space(students=False))
    assert not any("network" in entry for entry in (*alone["layers"], *alone["groups"]))
    both = described(space(students=True))
    for kind in ("layers", "groups"):
        assert {entry["network"] for entry in both[kind]} == {"", "small"}
