"""Refinement: exchanges keep the predicted latency, crossovers take from two parents; all plans are legal."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import nets
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_spaces import Clock, chain, guide_over
from test_space import assert_legal

from autocompress.spaces.neighbours.crossover import Crossover
from autocompress.spaces.neighbours.exchange import TOLERANCE, Exchange
from autocompress.spaces.neighbours.moves import Mover
from autocompress.spaces.plan import Plan, Recovery
from autocompress.spaces.sites import Sites
from autocompress.spaces.space import Space, build_space
from autocompress.spaces.surrogates import Guide

SEEDS = st.integers(0, 2**32)


def space(name: str) -> Space:
    if name == "chain":
        return chain([32] * 4 + [64] * 4, bits=(32, 16, 8), one_float=True)
    return build_space(replace(nets.net(name).ground, storage_counts=True))


def drawn(sites: Sites, source: random.Random, recovery: Recovery | None) -> Plan:
    return sites.assemble([source.randrange(len(site.options)) for site in sites], Plan(recovery=recovery))


@pytest.mark.parametrize("name", [*nets.SMALL, "cifar_resnet20", "chain"])
@settings(max_examples=20)
@given(seed=SEEDS)
def test_an_exchange_is_legal_and_keeps_the_latency(name: str, seed: int) -> None:
    sites, source = Sites(space(name)), random.Random(seed)
    guide = guide_over(sites, 1)
    plan = drawn(sites, source, Recovery(quantization_aware=True))
    swapped = Exchange(sites, guide).swap(plan, source)
    assert_legal(swapped, sites.space)
    if swapped == plan:
        return
    clock = guide.latency["here"]
    assert clock.predict_ms(swapped) <= (1 + TOLERANCE) * clock.predict_ms(plan) + 1e-12
    pairs = list(zip(sites.choices(plan), sites.choices(swapped), strict=True))
    assert any(a > b for a, b in pairs), "one site takes compression back"
    assert sum(a != b for a, b in pairs) >= 2, "and others pay"
    assert sites.choices(sites.assemble(sites.choices(swapped), swapped)) == sites.choices(swapped)


def test_exchanges_are_found_nearly_always_and_work_across_kinds() -> None:
    sites, source = Sites(space("cifar_resnet20")), random.Random(0)
    guide, kinds, found = guide_over(sites, 1), set(), 0
    for _ in range(100):
        plan = drawn(sites, source, None)
        swapped = Exchange(sites, guide).swap(plan, source)
        found += swapped != plan
        pairs = zip(sites, sites.choices(plan), sites.choices(swapped), strict=True)
        signs = {(site.kind, b > a) for site, a, b in pairs if a != b}
        kinds |= {(x, y) for x, more in signs for y, less in signs if more and not less}
    assert found >= 90
    assert ("channels", "bits") in kinds and ("bits", "channels") in kinds


def test_exchanges_prefer_what_the_guide_says() -> None:
    sites = Sites(space("chain"))
    rows = {s.name: [0.0] + [1e-3] * (len(s.options) - 1) for s in sites}
    dear = next(site for site in sites if site.kind == "channels" and site.depth > 0.4)
    rows[dear.name] = [float(i * 10) for i in range(len(dear.options))]
    guide = Guide({name: tuple(row) for name, row in rows.items()}, {"here": Clock(sites.space)})
    at, source = [site.name for site in sites].index(dear.name), random.Random(1)
    middle = sites.assemble([len(site.options) // 2 if site.kind == "channels" else 0 for site in sites], Plan())
    before = sites.choices(middle)[at]
    after = [sites.choices(Exchange(sites, guide).swap(middle, source))[at] for _ in range(100)]
    assert sum(a < before for a in after) > 2 * sum(a > before for a in after)


@pytest.mark.parametrize("name", ["digits", "chain"])
@settings(max_examples=20)
@given(seed=SEEDS)
def test_moves_with_a_guide_are_legal_and_go_somewhere(name: str, seed: int) -> None:
    found, source = space(name), random.Random(seed)
    mover = Mover(found, guide_over(Sites(found), 2))
    plan = found.uniform(0.5, 8, Recovery())
    for _ in range(10):
        moved = mover.move(plan, source)
        assert moved != plan
        assert_legal(moved, found)
        plan = moved


def test_a_guide_without_latency_leaves_the_other_moves() -> None:
    found = space("digits")
    plan = Mover(found, Guide()).move(Plan(recovery=Recovery()), random.Random(0))
    assert plan != Plan(recovery=Recovery())


@pytest.mark.parametrize("name", [*nets.SMALL, "cifar_resnet20"])
@settings(max_examples=20)
@given(seed=SEEDS)
def test_a_crossover_takes_each_site_from_a_parent(name: str, seed: int) -> None:
    sites, source = Sites(space(name)), random.Random(seed)
    a, b = drawn(sites, source, Recovery(alpha=0.1)), drawn(sites, source, Recovery(alpha=0.9))
    child = Crossover(sites).cross(a, b, source)
    assert_legal(child, sites.space)
    mine, yours, its = sites.choices(a), sites.choices(b), sites.choices(child)
    assert all(c in (x, y) for x, y, c in zip(mine, yours, its, strict=True))
    assert child.recovery in (a.recovery, b.recovery) and child.target == a.target


@given(seed=SEEDS)
def test_a_crossover_is_legal_where_float_layers_share_a_precision(seed: int) -> None:
    sites, source = Sites(space("chain")), random.Random(seed)
    child = Crossover(sites).cross(drawn(sites, source, None), drawn(sites, source, Recovery()), source)
    assert_legal(child, sites.space)
    assert child.recovery == Recovery(), "a parent that was never taught teaches nothing"
    assert sites.assemble(sites.choices(child), child) == child


def test_crossovers_cut_along_the_depth_and_mix() -> None:
    sites, source = Sites(space("cifar_resnet20")), random.Random(0)
    a, b = Plan(), sites.assemble([len(site.options) - 1 for site in sites], Plan())
    depths = [site.depth for site in sites]
    cut = mixed = 0
    for _ in range(100):
        its = sites.choices(Crossover(sites).cross(a, b, source))
        runs = [o > 0 for _, o in sorted(zip(depths, its, strict=True))]
        changes = sum(x != y for x, y in itertools.pairwise(runs))
        cut, mixed = cut + (changes <= 1), mixed + (changes > 3)
    assert cut > 20 and mixed > 20
