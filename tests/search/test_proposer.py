"""What is proposed: the opening, what a second run proposes, and how samplers are told of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from nets import CAPABILITIES, net

from autocompress.search.feasibility import Rules
from autocompress.search.propose.by_hand import baselines, uniform_latent
from autocompress.search.propose.encode import redescribed
from autocompress.search.propose.initial_design import opening
from autocompress.search.propose.proposer import Arm, Proposer, Worth
from autocompress.search.propose.samplers import Sampler
from autocompress.search.propose.strategy import encoding_by_shares
from autocompress.search.trial import SEED, Trial
from autocompress.spaces.axes.base import Value
from autocompress.spaces.plan import Plan, Recovery
from autocompress.spaces.sites import Sites
from autocompress.spaces.space import Space, build_space
from autocompress.studies.schema import BudgetSection
from benchmarks.landscapes.run import make_landscape

AXES = ("width", "channels", "bits", "recovery")


def space(min_fraction: float = 0.25, homes: tuple[str, ...] = ()) -> Space:
    ground = replace(net("digits").ground, min_fraction=min_fraction)
    return build_space(ground, AXES, dict.fromkeys(homes, CAPABILITIES))


def latent_of(found: Space, width: float = 0.5) -> dict[str, Value]:
    latent = uniform_latent(found, width, 8)
    assert latent is not None
    return latent


def trial(number: int, plan: Plan, latent: dict[str, Value] | None = None, origin: str = "search") -> Trial:
    return Trial(number, plan, origin, "finished", latent=latent)


def test_what_one_would_do_by_hand_is_there_under_its_own_name_in_every_opening() -> None:
    landscape = make_landscape("network-additive", 20, 0)
    shares = encoding_by_shares(landscape.space, landscape.guide, ("onnxruntime",), {"onnxruntime": 3.0})
    assert shares is not None
    for guided in (shares, None):
        found = opening(landscape.space, guided, {"": 3.0})
        names = [b.name for b in found]
        assert {b.name for b in baselines(landscape.space)} <= set(names) and SEED in names
        keys = [b.plan.key() for b in found if b.name == SEED]
        assert not set(keys) & {b.plan.key() for b in found if b.name != SEED}


def test_a_second_run_has_no_seeds_for_budgets_that_had_theirs() -> None:
    landscape = make_landscape("network-interacting", 20, 0)
    shares = encoding_by_shares(landscape.space, landscape.guide, ("onnxruntime",), {"onnxruntime": 3.0})
    assert shares is not None
    first = opening(landscape.space, shares, {"": 3.0})
    ended = [trial(i, b.plan, dict(b.latent or {}), b.name) for i, b in enumerate(first, 1)]

    def seeds_after(budget_ms: float) -> list[str]:
        proposer = Proposer(landscape.space, [], 0, opening(landscape.space, shares, {"": budget_ms}))
        proposer.know(ended, [])
        found = []
        while (proposal := proposer.propose([])) is not None:
            found.append(proposal.origin)
        return found

    assert seeds_after(3.0 * 0.98) == [], "a latency model that has learnt moves the budgets a little"
    assert set(seeds_after(3.0 * 0.8)) == {SEED}, "another budget has other seeds"


def test_moves_stay_in_the_space_of_today() -> None:
    before, now = space(0.25), space(0.75)
    wide = before.uniform(0.25, 8, Recovery())
    parents = [Worth(trial(1, wide, latent_of(before, 0.25)), (0.1, 1.0), True)]
    proposer = Proposer(now, [], 0)
    proposer.know([p.trial for p in parents], [])
    sites = Sites(now)
    for _ in range(20):
        proposal = proposer.propose(parents)
        assert proposal is not None
        assert sites.assemble(sites.choices(proposal.plan), proposal.plan) == proposal.plan


def test_a_move_is_told_with_the_target_that_it_went_to() -> None:
    found = space(homes=("one", "two"))
    told = redescribed(found, latent_of(found) | {"target": "one"}, Plan(target="two"))
    assert told is not None and told["target"] == "two"


def test_numbers_of_another_description_describe_no_move() -> None:
    found = space()
    latent = latent_of(found)
    assert redescribed(found, latent, Plan()) is not None
    assert redescribed(found, {**latent, "budget_ms": 1.0}, Plan()) is None, "a budget says nothing of its neighbours"
    latent.pop("width")
    assert redescribed(found, latent, Plan()) is None, "the space was another"


def test_plans_over_a_limit_are_told_after_a_resume_too(monkeypatch: pytest.MonkeyPatch) -> None:
    found = space()
    sampler = Sampler(found.latent(), 2, 0)
    told: list[float | None] = []
    monkeypatch.setattr(sampler, "reject", lambda number, latent, ticket, violation: told.append(violation))
    proposer = Proposer(found, [Arm("profile", found, sampler)], 0)
    gated = replace(trial(1, found.uniform(0.5, 8, Recovery()), latent_of(found)), outcome="gated")
    proposer.learn(gated, None, 0.5, None)
    assert told == [0.5]


def test_a_violation_without_a_ticket_is_kept_and_never_drawn_from() -> None:
    found = space()
    sampler = Sampler(found.latent(), 2, 0)
    sampler.reject(1, latent_of(found), None, 0.5)
    sampler.reject(2, {"width": 0.5}, None, 0.5)  # in numbers of another space
    for _ in range(3):
        ticket, latent = sampler.ask()
        sampler.tell(10 + ticket, latent, (0.1, 1.0), ticket)


def test_a_file_over_the_size_is_a_violation_whatever_its_latency() -> None:
    rules = Rules(BudgetSection(max_mb=1.0), ("cpu",), {}, ("accuracy", "latency_ms"), (1.0,), 9, 9, 9, True)
    big = replace(trial(1, Plan()), gate_bytes=1_500_000)
    assert rules.violation(big) == pytest.approx(0.5)
