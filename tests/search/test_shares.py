"""Shares of a latency budget: within it by prediction, of little damage, and a description that a sampler can draw."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import nets
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_spaces import Clock, chain, guide_over
from test_space import assert_legal, draws

from autocompress.search.propose.shares import ShareEncoding, reach_ms
from autocompress.spaces.allocate.forecast import Forecast
from autocompress.spaces.allocate.prices import Prices
from autocompress.spaces.allocate.within import fastest_plan, plan_within
from autocompress.spaces.axes.base import Number
from autocompress.spaces.axes.channels import ChannelAxis
from autocompress.spaces.plan import Plan, Recovery
from autocompress.spaces.ranks import sensitivity_ranks
from autocompress.spaces.sites import Sites
from autocompress.spaces.space import build_space
from autocompress.spaces.surrogates import Guide
from autocompress.spaces.target import Capabilities

PARTS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9)
"""Of the way from the fastest plan to the teacher, where budgets are tried."""


def small(seed: int) -> tuple[Sites, Guide]:
    """Nine sites or so, whose plans can all be tried."""
    bits = (32, 16, 8) if seed % 2 else (32, 8)
    sites = Sites(chain([32, 48, 32, 48, 10], bits=bits, one_float=seed % 3 == 1))
    return sites, guide_over(sites, seed)


@pytest.mark.parametrize("seed", range(6))
def test_little_is_lost_against_trying_every_plan(seed: int) -> None:
    sites, guide = small(seed)
    forecast = Forecast(sites, guide.latency["here"], Plan())
    every = {forecast.settled(c) for c in itertools.product(*(range(len(site.options)) for site in sites))}
    known = [(forecast.ms(c), guide.damage_of(sites, sites.assemble(c, Plan()))) for c in every]
    low, high = min(ms for ms, _ in known), forecast.ms((0,) * len(sites))
    ratios = []
    for part in PARTS:
        budget = low + part * (high - low)
        plan = plan_within(sites, guide, "here", budget, Plan())
        assert plan is not None and guide.latency["here"].predict_ms(plan) <= budget
        best = min(damage for ms, damage in known if ms <= budget)
        ratios.append(guide.damage_of(sites, plan) / best)
    assert sum(ratios) / len(ratios) < 1.1 and max(ratios) < 1.8


def test_it_beats_random_plans_where_there_are_too_many_to_try() -> None:
    sites = Sites(chain([64] * 8 + [128] * 8 + [256] * 8))
    guide = guide_over(sites, 0)
    clock, source = guide.latency["here"], random.Random(0)
    budget = 0.4 * clock.predict_ms(Plan())
    plan = plan_within(sites, guide, "here", budget, Plan())
    assert plan is not None and clock.predict_ms(plan) <= budget
    drawn = [sites.assemble([source.randrange(len(s.options)) for s in sites], Plan()) for _ in range(300)]
    fitting = [guide.damage_of(sites, p) for p in drawn if clock.predict_ms(p) <= budget]
    assert fitting and guide.damage_of(sites, plan) < 0.5 * min(fitting)


def test_a_budget_out_of_reach_is_told_and_the_teacher_needs_none() -> None:
    sites, guide = small(0)
    fastest, low = fastest_plan(sites, guide, "here", Plan())
    assert plan_within(sites, guide, "here", 0.99 * low, Plan()) is None
    assert plan_within(sites, guide, "here", 1.0001 * low, Plan()) is not None
    assert guide.latency["here"].predict_ms(fastest) == pytest.approx(low)
    assert plan_within(sites, guide, "here", 1.01 * guide.latency["here"].predict_ms(Plan()), Plan()) == Plan()


def test_sites_without_a_known_damage_stay_as_they_are() -> None:
    sites, guide = small(0)
    known = {name: row for name, row in guide.damage.items() if not name.startswith("bits")}
    like = chain([32, 48, 32, 48, 10]).uniform(1.0, 8, Recovery())
    plan = plan_within(sites, replace(guide, damage=known), "here", 0.3 * Clock(sites.space).predict_ms(Plan()), like)
    assert plan is not None and plan.bits == like.bits and plan.recovery == like.recovery and plan.channels


@pytest.mark.parametrize(("price", "kind"), [("bits", "bits"), ("inner", "channels")])
def test_who_is_dear_pays_less(price: str, kind: str) -> None:
    sites, guide = small(2)
    budget = 0.4 * guide.latency["here"].predict_ms(Plan())

    def paid(value: float) -> float:
        plan = plan_within(sites, guide, "here", budget, Plan(), Prices(**{price: value}))
        assert plan is not None
        chosen = zip(sites, sites.choices(plan), strict=True)
        return sum(guide.damage[s.name][o] for s, o in chosen if s.kind == kind and (s.inner or kind == "bits"))

    assert paid(3.0) <= paid(0.0) <= paid(-3.0)


@pytest.mark.parametrize("name", nets.ALL)
@settings(max_examples=8)
@given(data=st.data())
def test_every_draw_is_a_legal_plan(name: str, data: st.DataObject) -> None:
    space = build_space(replace(nets.net(name).ground, storage_counts=True))
    sites = Sites(space)
    guide = guide_over(sites, 3)
    encoding = ShareEncoding(sites, guide, ["here"], *reach_ms(sites, guide, ["here"]))
    latent = data.draw(draws(encoding.latent()))
    plan = encoding.decode(latent)
    assert_legal(plan, space)
    assert plan == encoding.decode(dict(reversed(latent.items()))), "the same draw gives the same plan"
    assert encoding.key(plan) == space.key(plan)
    recovery = {k: v for k, v in latent.items() if not k.startswith(("budget", "price"))}
    assert plan.recovery is not None and plan.recovery.temperature == pytest.approx(recovery["temperature"], rel=1e-2)


def test_a_lower_budget_gives_a_faster_plan_down_to_the_fastest() -> None:
    sites, guide = small(1)
    low, high = reach_ms(sites, guide, ["here"])
    encoding = ShareEncoding(sites, guide, ["here"], low / 2, high)
    numbers = encoding.latent()
    assert numbers["budget_ms"] == Number(low / 2, high, log=True)
    rest = {"temperature": 4.0, "alpha": 0.5, "learning_rate": 0.01, "feature_weight": 0.0}
    clock = guide.latency["here"]
    for part in (0.5, 1.0, 1.5, 3.0):
        plan = encoding.decode(encoding.neutral(part * low, {**rest, "quantization": "aware"}))
        assert clock.predict_ms(plan) <= max(low, part * low) * 1.005
    assert encoding.decode({"budget_ms": high, **rest}).channels == {}


def test_plans_choose_their_target_and_each_has_its_own_latency() -> None:
    homes = {"here": Capabilities((32, 8), (), 16), "there": Capabilities((32, 16), (), 16)}
    ground = replace(chain([32, 48, 32, 48, 10], bits=(32, 16, 8)).ground)
    space = build_space(ground, homes=homes)
    sites = Sites(space)
    guide = replace(guide_over(sites, 0), latency={"here": Clock(space), "there": Clock(space)})
    encoding = ShareEncoding(sites, guide, list(homes), *reach_ms(sites, guide, list(homes)))
    latent = {"budget_ms": 0.5 * Clock(space).predict_ms(Plan()), "temperature": 4.0, "alpha": 0.5}
    latent |= {"learning_rate": 0.01, "feature_weight": 0.0, "quantization": "post_training"}
    assert "target" in encoding.latent()
    for target, bits in (("here", {8}), ("there", {16})):
        plan = encoding.decode({**latent, "target": target})
        assert plan.target == target and set(plan.bits.values()) <= bits


def test_a_plan_for_several_targets_keeps_the_budget_on_each() -> None:
    sites, guide = small(0)

    class Slow(Clock):
        def predict_ms(self, plan: Plan) -> float:
            return 3 * super().predict_ms(plan) + 0.5 * len(plan.bits)

    both = {"here": guide.latency["here"], "there": Slow(sites.space)}
    guide = replace(guide, latency=both)
    encoding = ShareEncoding(sites, guide, list(both), *reach_ms(sites, guide, list(both)))
    teacher = {name: guess.predict_ms(Plan()) for name, guess in both.items()}
    latent = {"budget_ms": 0.5 * teacher["here"], "temperature": 4.0, "alpha": 0.5, "learning_rate": 0.01}
    plan = encoding.decode({**latent, "feature_weight": 0.0})
    assert all(guess.predict_ms(plan) <= 0.5051 * teacher[name] for name, guess in both.items())


def test_what_the_predictor_learns_changes_the_answers() -> None:
    sites, guide = small(0)

    class Learner(Clock):
        factor = 1.0

        def predict_ms(self, plan: Plan) -> float:
            return self.factor * super().predict_ms(plan)

    learner = Learner(sites.space)
    encoding = ShareEncoding(sites, replace(guide, latency={"here": learner}), ["here"], 0.1, 10.0)
    rest = {"temperature": 4.0, "alpha": 0.5, "learning_rate": 0.01, "feature_weight": 0.0}
    latent = encoding.neutral(0.5 * learner.predict_ms(Plan()), rest)
    before = encoding.decode(latent)
    object.__setattr__(learner, "factor", 1.5)
    after = encoding.decode(latent)
    assert guide.damage_of(sites, after) > guide.damage_of(sites, before)
    assert learner.predict_ms(after) <= float(latent["budget_ms"]) * 1.005


def test_ranks_go_from_the_least_to_the_most_sensitive() -> None:
    sites, guide = small(0)
    ranks = sensitivity_ranks(sites, guide.damage)
    assert set(ranks) == {site.owner for site in sites if site.kind == "channels"}
    assert min(ranks.values()) == -1 and max(ranks.values()) == 1
    equal = {name: tuple(0.0 for _ in row) for name, row in guide.damage.items()}
    assert set(sensitivity_ranks(sites, equal).values()) == {0.0}
    assert sensitivity_ranks(sites, {}) == {}


def test_a_width_that_follows_sensitivity_spares_the_sensitive() -> None:
    space = chain([64] * 8)
    plain = ChannelAxis(space.ground)
    names = [group.name for group in space.ground.groups]
    known = ChannelAxis(replace(space.ground, sensitivity=dict(zip(names, (1.0, -1.0, 0.0, 0.5), strict=False))))
    assert "width_sensitivity" not in plain.parameters() and "width_sensitivity" in known.parameters()
    values = {"width": 0.5, "width_slope": 0.3}
    assert known.apply(Plan(), {**values, "width_sensitivity": 0.0}) == plain.apply(Plan(), values)
    tilted = known.apply(Plan(), {**values, "width_sensitivity": 0.6}).channels
    assert tilted.get("c0", 64) > plain.apply(Plan(), values).channels["c0"] > tilted["c1"] - 1
    assert tilted["c1"] < plain.apply(Plan(), values).channels["c1"]
