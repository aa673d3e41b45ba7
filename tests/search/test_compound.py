"""Compound scaling: one number makes a network shallower, narrower and its inputs smaller."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_spaces import chain

from autocompress.search.propose.compound import (
    GRID,
    MOST,
    SCALE,
    SIZE,
    STEPS,
    CompoundEncoding,
    can_scale,
    scaled,
    scaled_designs,
)
from autocompress.search.propose.profile import sensitivity_ranks
from autocompress.search.propose.strategy import make_proposer
from autocompress.search.technique_kinds.context import DesignContext
from autocompress.search.technique_kinds.facts import SpaceFacts
from autocompress.search.technique_kinds.scaling import COMPOUND
from autocompress.search.trial import Origin
from autocompress.spaces.graph.block import Block
from autocompress.spaces.graph.resized import Resizing
from autocompress.spaces.space import Space, build_space
from autocompress.spaces.spec import StudentSpec
from autocompress.spaces.surrogates import Surrogates
from autocompress.studies.schema import SearchSection

AXES = ("depth", "size", "channels", "bits", "recovery")
SIDES = (28, 24, 20, 16)


def space(*axes: str) -> Space:
    """A chain of twelve convolutions of which any but the ends may go, that looks at images of five sizes."""
    context = chain([32] * 12, multiple=4).context
    blocks = tuple(Block(f"b{i}", f"b{i}", f"b{i}", (f"c{i}",), "residual block", i / 11) for i in range(1, 12))
    sizes = tuple(
        Resizing(side, (side, side), (32, 32), areas={a.name: a.area * side**2 // 1024 for a in context.layers})
        for side in SIDES
    )
    return build_space(replace(context, blocks=blocks, resizings=sizes, axes=axes), axes)


SPACE = space(*AXES)


def sizes_of(spec: StudentSpec) -> tuple[int, int, int]:
    """Blocks, channels and pixels of a side that are left."""
    kept = sum(spec.channels.get(group.name, group.channels) for group in SPACE.context.groups)
    return 11 - len(spec.dropped), kept, spec.size or 32


@given(st.floats(0, MOST), st.floats(0, MOST))
def test_more_steps_leave_no_more_of_anything(a: float, b: float) -> None:
    fewer, more = (SPACE.spec(scaled(SPACE, steps, SPACE.taught)) for steps in sorted((a, b)))
    # groups of blocks that are gone keep all channels: only networks as deep are compared in width
    deeper, shallower = sizes_of(fewer), sizes_of(more)
    assert deeper[0] >= shallower[0] and deeper[2] >= shallower[2]
    assert deeper[0] > shallower[0] or deeper[1] >= shallower[1]


def test_a_step_is_that_of_the_source() -> None:
    assert scaled(SPACE, 0.0, SPACE.taught) == SPACE.taught
    spec = SPACE.spec(scaled(SPACE, 2.0, SPACE.taught))
    assert spec.size == min(SIDES, key=lambda side: abs((side / 32) ** 2 - SIZE**-4))
    assert len(spec.dropped) == 10 - round(10 / 1.44), "the last block is none that may go"
    assert set(spec.channels.values()) == {28}, "32 channels over 1.21, in fours"


@given(data=st.data())
def test_every_draw_is_a_plan_that_its_own_numbers_describe(data: st.DataObject) -> None:
    encoding = CompoundEncoding(SPACE)
    latent = {
        name: data.draw(st.sampled_from(p.options) if hasattr(p, "options") else st.floats(p.low, p.high))
        for name, p in encoding.latent().items()
    }
    latent[SCALE] = data.draw(st.sampled_from(GRID))
    plan = encoding.decode(latent)
    assert plan == SPACE.repair(plan)
    found = encoding.encode(plan)
    assert found is not None and found.keys() == latent.keys()
    assert encoding.decode(found) == plan


def test_a_plan_that_is_not_scaled_has_no_number() -> None:
    encoding = CompoundEncoding(SPACE)
    plan = scaled(SPACE, 3.0, SPACE.taught)
    first = next(v for v in SPACE.of("channels") if v.name in plan.choices)
    assert encoding.encode(plan) is not None
    assert encoding.encode(SPACE.repair(plan.changed({first.name: first.options[-1]}))) is None


def test_a_sampler_of_scaled_networks_learns_of_those_that_a_study_begins_with() -> None:
    """Both let the least sensitive blocks go, where sensitivities are known."""
    depth = SPACE.of("depth")
    known = Surrogates(sensitivity={v.name: (0.0, float(7 * i % 11)) for i, v in enumerate(depth)})
    encoding = CompoundEncoding(SPACE, sensitivity_ranks(SPACE, known.sensitivity))
    proposer = make_proposer(SPACE, SearchSection(), ("accuracy", "latency_ms"), known, ("here",), {})
    proposals = [p for p in (proposer.propose() for _ in range(120)) if p is not None]
    described = [encoding.encode(p.plan) for p in proposals if p.origin is Origin.DESIGN]
    assert len({latent[SCALE] for latent in described if latent is not None} - {0.0}) == len(STEPS)
    least = [v.name for v in sorted(depth, key=lambda v: known.sensitivity[v.name][1])]
    spec = SPACE.spec(next(scaled_designs(SPACE, sensitivity_ranks(SPACE, known.sensitivity))).plan)
    assert {f"depth:{name}" for name in spec.dropped} == set(least[: len(spec.dropped)])


@pytest.mark.parametrize("axes", [("channels", "bits", "recovery"), ("size", "recovery"), ("depth", "recovery")])
def test_one_kind_of_size_alone_is_not_scaled(axes: tuple[str, ...]) -> None:
    found = space(*axes)
    assert not can_scale(found) and not list(scaled_designs(found))
    assert COMPOUND.why_not(SpaceFacts.of(found))


@pytest.mark.parametrize("axes", [AXES, ("depth", "width", "recovery"), ("size", "channels", "bits")])
def test_a_search_begins_with_scaled_networks_and_draws_more_of_them(axes: tuple[str, ...]) -> None:
    found = space(*axes)
    assert can_scale(found) and COMPOUND.why_not(SpaceFacts.of(found)) == ""
    designs = {design.plan for design in scaled_designs(found)}
    proposer = make_proposer(found, SearchSection(), ("accuracy", "latency_ms"), Surrogates(), ("here",), {})
    proposals = [p for p in (proposer.propose() for _ in range(120)) if p is not None]
    assert designs <= {p.plan for p in proposals}
    assert any(SCALE in (p.latent or {}) for p in proposals if p.origin is Origin.SEARCH)


def test_the_technique_takes_as_many_steps_as_the_budget_asks_for() -> None:
    most = sizes_of(SPACE.spec(scaled(SPACE, 4.0, SPACE.taught)))[0]
    context = DesignContext(SPACE, lambda spec: sizes_of(spec)[0] <= most)
    plans = [steps[-1].plan for steps in COMPOUND.designs(context)]
    assert plans and all(sizes_of(SPACE.spec(plan))[0] <= most for plan in plans)
    assert len(set(plans)) == len(plans)
    free = next(COMPOUND.designs(DesignContext(SPACE)))[-1].plan
    assert sizes_of(SPACE.spec(free))[0] > most
