"""Refinement: exchanges keep the predicted latency, crossovers take from two parents; all plans are legal."""

from __future__ import annotations

import functools
import itertools
import random
from dataclasses import replace

import nets
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from legality import assert_legal, drawn_plan
from synthetic_spaces import LayerByLayer, chain, surrogates_over

from autocompress.spaces.neighbours.crossover import cross
from autocompress.spaces.neighbours.exchange import TOLERANCE, Exchange
from autocompress.spaces.neighbours.moves import Mover
from autocompress.spaces.plan import Plan
from autocompress.spaces.space import Space
from autocompress.spaces.surrogates import Surrogates

SEEDS = st.integers(0, 2**32)
FEW = settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])


@functools.cache
def space(name: str) -> Space:
    if name == "chain":
        return chain([32] * 4 + [64] * 4, bits=(32, 16, 8), one_float=True)
    context = replace(nets.net(name).context, storage_counts=True)
    return nets.space_over(context, "channels", "pattern", "bits", "recovery")


def taught(found: Space, **choices: str | float) -> Plan:
    return found.repair(found.taught.changed({f"recovery:{name}": option for name, option in choices.items()}))


@pytest.mark.parametrize("name", [*nets.SMALL, "cifar_resnet20", "chain"])
@FEW
@given(seed=SEEDS)
def test_an_exchange_is_legal_and_keeps_the_latency(name: str, seed: int) -> None:
    found, source = space(name), random.Random(seed)
    surrogates = surrogates_over(found, 1)
    plan = drawn_plan(found, source, found.taught.changed({"recovery:quantization": "aware"}))
    swapped = Exchange(found, surrogates).swap(plan, source)
    assert_legal(swapped, found)
    if swapped == plan:
        return
    predict_ms = surrogates.latency["here"].predict_ms
    assert predict_ms(found.spec(swapped)) <= (1 + TOLERANCE) * predict_ms(found.spec(plan)) + 1e-12
    pairs = list(zip(found.indices(plan), found.indices(swapped), strict=True))
    assert any(a > b for a, b in pairs), "one variable takes compression back"
    assert sum(a != b for a, b in pairs) >= 2, "and others pay"
    assert found.indices(found.assemble(found.indices(swapped), swapped)) == found.indices(swapped)


def test_exchanges_are_found_nearly_always_and_work_across_axes() -> None:
    found, source = space("cifar_resnet20"), random.Random(0)
    surrogates, pairs_of_axes, count = surrogates_over(found, 1), set(), 0
    for _ in range(100):
        plan = drawn_plan(found, source)
        swapped = Exchange(found, surrogates).swap(plan, source)
        count += swapped != plan
        pairs = zip(found.network, found.indices(plan), found.indices(swapped), strict=True)
        signs = {(variable.axis, b > a) for variable, a, b in pairs if a != b}
        pairs_of_axes |= {(x, y) for x, more in signs for y, less in signs if more and not less}
    assert count >= 90
    assert ("channels", "bits") in pairs_of_axes and ("bits", "channels") in pairs_of_axes


def test_exchanges_prefer_what_the_surrogates_say() -> None:
    found = space("chain")
    rows = {v.name: [0.0] + [1e-3] * (len(v.options) - 1) for v in found.network}
    dear = next(v for v in found.network if v.axis == "channels" and v.depth > 0.4)
    rows[dear.name] = [float(i * 10) for i in range(len(dear.options))]
    surrogates = Surrogates({name: tuple(row) for name, row in rows.items()}, {"here": LayerByLayer(found)})
    at, source = [v.name for v in found.network].index(dear.name), random.Random(1)
    middle = found.assemble([len(v.options) // 2 if v.axis == "channels" else 0 for v in found.network], Plan())
    before = found.indices(middle)[at]
    after = [found.indices(Exchange(found, surrogates).swap(middle, source))[at] for _ in range(100)]
    assert sum(a < before for a in after) > 2 * sum(a > before for a in after)


@pytest.mark.parametrize("name", ["digits", "chain"])
@FEW
@given(seed=SEEDS)
def test_moves_with_surrogates_are_legal_and_go_somewhere(name: str, seed: int) -> None:
    found, source = space(name), random.Random(seed)
    mover = Mover(found, surrogates_over(found, 2))
    plan = found.uniform({"channels": 0.5, "bits": 8}, found.taught)
    for _ in range(10):
        moved = mover.move(plan, source)
        assert moved != plan
        assert_legal(moved, found)
        plan = moved


def test_surrogates_that_know_nothing_leave_the_other_moves() -> None:
    found = space("digits")
    assert Mover(found, Surrogates()).move(found.taught, random.Random(0)) != found.taught


def test_moves_reach_every_variable_and_both_ways_of_long_rows() -> None:
    found, source = space("digits"), random.Random(0)
    mover, seen = Mover(found), set()
    plan = found.uniform({"channels": 0.5, "bits": 8}, taught(found, quantization="aware"))
    for _ in range(2000):
        moved = mover.move(plan, source)
        seen |= {n for n in {*plan.choices, *moved.choices} if plan.choices.get(n) != moved.choices.get(n)}
    assert {v.name for v in found if v.bounds is not None or len(v.drawn) > 1} <= seen


def test_a_student_that_is_taught_stays_so() -> None:
    found, source = space("digits"), random.Random(0)
    plan = found.taught
    for _ in range(300):
        plan = Mover(found).move(plan, source)
        assert plan.choices["recovery:method"] == "full", "what is not searched is not moved"


def test_a_space_without_decisions_allows_no_move() -> None:
    nothing = chain([8, 8], bits=(32,), axes=("channels",))
    plan = nothing.taught
    assert Mover(nothing).move(plan, random.Random(0)) == plan


@pytest.mark.parametrize("name", [*nets.SMALL, "cifar_resnet20"])
@FEW
@given(seed=SEEDS)
def test_a_crossover_takes_each_variable_from_a_parent(name: str, seed: int) -> None:
    found, source = space(name), random.Random(seed)
    a, b = drawn_plan(found, source, taught(found, alpha=0.1)), drawn_plan(found, source, taught(found, alpha=0.9))
    child = cross(found, a, b, source)
    assert_legal(child, found)
    mine, yours, its = found.indices(a), found.indices(b), found.indices(child)
    assert all(c in (x, y) for x, y, c in zip(mine, yours, its, strict=True))
    assert child.of("recovery") in (a.of("recovery"), b.of("recovery"))


@given(seed=SEEDS)
def test_a_crossover_is_legal_where_float_layers_share_a_precision(seed: int) -> None:
    found, source = space("chain"), random.Random(seed)
    child = cross(found, drawn_plan(found, source), drawn_plan(found, source, found.taught), source)
    assert_legal(child, found)
    assert found.assemble(found.indices(child), child) == child


def test_crossovers_cut_along_the_depth_and_mix() -> None:
    found, source = space("cifar_resnet20"), random.Random(0)
    a, b = Plan(), found.assemble([len(v.options) - 1 for v in found.network], Plan())
    depths = [v.depth for v in found.network]
    cut = mixed = 0
    for _ in range(100):
        its = found.indices(cross(found, a, b, source))
        runs = [o > 0 for _, o in sorted(zip(depths, its, strict=True))]
        changes = sum(x != y for x, y in itertools.pairwise(runs))
        cut, mixed = cut + (changes <= 1), mixed + (changes > 3)
    assert cut > 20 and mixed > 20
