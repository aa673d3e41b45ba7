"""What is proposed: the initial design, what a second run proposes, and how samplers are told of it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace

import pytest
from nets import net, space_over
from simulation import OBJECTIVES, Problem, make_problem

from autocompress.search.propose.by_hand import Design, by_hand, uniform
from autocompress.search.propose.factorial import factorial
from autocompress.search.propose.initial_design import initial_design
from autocompress.search.propose.learned.source import SHARED
from autocompress.search.propose.planned import Planned
from autocompress.search.propose.profile import ProfileEncoding
from autocompress.search.propose.proposal import Arm, Proposal
from autocompress.search.propose.proposer import Proposer
from autocompress.search.propose.samplers import Sampler
from autocompress.search.propose.solved import solved
from autocompress.search.propose.strategy import make_proposer, starts_of
from autocompress.search.trial import Origin, Trial, TrialState
from autocompress.spaces.plan import Plan
from autocompress.spaces.space import Space
from autocompress.spaces.surrogates import Surrogates
from autocompress.spaces.variables import Value
from autocompress.studies.schema import SearchSection

FULL_MS = 1e9


def space(min_fraction: float = 0.25) -> Space:
    return space_over(replace(net("digits").context, min_fraction=min_fraction), "channels", "bits", "recovery")


def trial(
    number: int,
    plan: Plan,
    found: Space,
    latent: Mapping[str, Value] | None = None,
    origin: Origin = Origin.SEARCH,
    state: TrialState = TrialState.FINISHED,
) -> Trial:
    return Trial(number, plan, found.spec(plan), origin, str(origin), state, latent=latent)


@pytest.fixture(scope="module")
def problem() -> Problem:
    return make_problem()


def solved_for(problem: Problem, budget_ms: float) -> list[Design]:
    starts = starts_of(problem.space, problem.surrogates, ("here",), {"here": budget_ms})
    found = list(solved(problem.space, problem.surrogates, starts))
    assert found
    return found


def test_what_one_would_do_by_hand_is_there_under_its_own_name_in_every_design(problem: Problem) -> None:
    for guided in (solved_for(problem, problem.budget_ms), ()):
        found = initial_design(problem.space, guided)
        assert {d.label for d in by_hand(problem.space)} <= {d.label for d in found}
        designs = {d.plan for d in found if d.origin is Origin.DESIGN}
        assert designs and not designs & {d.plan for d in found if d.origin is not Origin.DESIGN}
        assert all(problem.space.repair(d.plan) == d.plan for d in found)
        assert found[0].origin is Origin.TEACHER and found[0].plan == Plan()


def test_by_hand_is_what_a_user_would_do(problem: Problem) -> None:
    found = {design.label: problem.space.spec(design.plan) for design in by_hand(problem.space)}
    assert list(found)[:2] == ["teacher", "teacher int8"]
    assert set(found["teacher int8"].bits.values()) == {8} and found["teacher int8"].recovery is None
    assert not found["uniform 50%"].bits and found["uniform 50%"].recovery is not None
    full = {group.name: group.channels for group in problem.space.context.groups}
    assert all(count <= 0.67 * full[name] for name, count in found["uniform 50% int8"].channels.items())
    pipeline = found["prune, fine-tune, int8"].recovery
    assert pipeline is not None and pipeline.alpha == 0.0, "labels alone"


def test_a_second_run_has_no_designs_for_budgets_that_had_theirs(problem: Problem) -> None:
    budget = problem.budget_ms
    first = initial_design(problem.space, solved_for(problem, budget))
    ended = [
        replace(trial(i, d.plan, problem.space, dict(d.latent or {}), d.origin), label=d.label)
        for i, d in enumerate(first, 1)
    ]

    def designs_after(budget_ms: float) -> list[Origin]:
        proposer = Proposer(problem.space, None, 0, initial_design(problem.space, solved_for(problem, budget_ms)))
        proposer.know(ended, [])
        found = []
        while proposer.opening:
            proposal = proposer.propose()
            assert proposal is not None
            found.append(proposal.origin)
        return [origin for origin in found if origin is not Origin.SEARCH]

    assert designs_after(0.98 * budget) == [], "a latency model that has learnt moves the budgets a little"
    assert set(designs_after(0.8 * budget)) == {Origin.DESIGN}, "another budget has other designs"


def test_what_was_under_way_comes_first_again_with_its_number(problem: Problem) -> None:
    plan = uniform(problem.space, 0.5, 8)
    broken = trial(7, plan, problem.space, {"x": 1.0}, Origin.MOVE, TrialState.RUNNING)
    proposer = Proposer(problem.space, None, 0, initial_design(problem.space))
    proposer.know([], [broken])
    assert proposer.opening
    proposal = proposer.propose()
    assert proposal is not None and (proposal.number, proposal.plan, proposal.latent) == (7, plan, {"x": 1.0})


def test_no_plan_is_proposed_twice_and_the_budget_is_kept_by_prediction(problem: Problem) -> None:
    settings = SearchSection()
    proposer = make_proposer(
        problem.space, settings, OBJECTIVES, problem.surrogates, ("here",), {"here": problem.budget_ms}
    )
    seen, origins = set(), set()
    for number in range(1, 90):
        proposal = proposer.propose()
        assert proposal is not None and proposal.plan not in seen
        seen.add(proposal.plan)
        spec = problem.space.spec(proposal.plan)
        if not proposal.origin.by_hand:
            assert problem.surrogates.latency["here"].predict_ms(spec) <= 1.15 * problem.budget_ms
        if spec.recovery is not None:
            costs = (-problem.accuracy(spec, 1.0), problem.ms(spec))
            ended = trial(number, proposal.plan, problem.space, dict(proposal.latent or {}), proposal.origin)
            ended = replace(ended, label=proposal.label)
            origins.add(proposal.origin)
            proposer.learn(ended, costs, None, proposal)
    assert origins == {Origin.BY_HAND, Origin.DESIGN, Origin.SEARCH, Origin.LEARNED}


def test_designs_by_level_come_again_in_other_bits_and_share_their_training(problem: Problem) -> None:
    found = problem.space
    levels = factorial(found, problem.surrogates.latency_for(), found.taught)
    design = [d.plan for d in initial_design(found, levels=levels)]
    others = [bits for bits in found.options("bits") if bits != 8]
    for level in levels:
        training = found.spec(level).training_key()
        same = [found.spec(p).bits for p in design if found.spec(p).training_key() == training]
        uniform_bits = {next(iter(found_bits)) for bits in same if len(found_bits := {*bits.values()} or {32}) == 1}
        assert uniform_bits >= {8, *others}


def test_plans_that_would_wait_for_a_training_come_after_others(problem: Problem) -> None:
    """With several workers: siblings in other bits hold a worker that only waits."""
    found = problem.space
    other = found.taught.changed({next(v for v in found.network if v.axis == "channels").name: 8})
    first, sibling, last = found.taught, found.repair(found.taught.changed(uniform(found, 1.0, 8).choices)), other
    assert found.spec(first).training_key() == found.spec(sibling).training_key() != found.spec(last).training_key()
    queue = Planned(found, [Proposal(plan, Origin.DESIGN, "design", None) for plan in (first, sibling, last)])
    queue.begun(queue.take().plan)
    assert queue.next.plan == last and not queue.follows
    queue.heard(found.spec(first), finished=True)
    assert queue.next.plan == sibling and queue.follows, "now it costs a file alone"
    queue.begun(queue.take().plan)
    assert queue.take().plan == last and not queue


def test_the_learned_model_does_not_wait_for_the_end_of_the_initial_design(problem: Problem) -> None:
    settings = SearchSection()
    proposer = make_proposer(problem.space, settings, OBJECTIVES, problem.surrogates, ("here",), {})
    origins: list[Origin] = []
    for number in range(1, 40):
        if not proposer.opening:
            break
        proposal = proposer.propose()
        assert proposal is not None
        if proposal.label != SHARED:
            origins.append(proposal.origin)
        spec = problem.space.spec(proposal.plan)
        ended = trial(number, proposal.plan, problem.space, dict(proposal.latent or {}), proposal.origin)
        ended = replace(ended, label=proposal.label)
        proposer.learn(ended, (-problem.accuracy(spec, 1.0), problem.ms(spec)), None, proposal)
    first = origins.index(Origin.LEARNED)
    rest = origins[first:]
    assert 0.4 <= rest.count(Origin.LEARNED) / len(rest) <= 0.65, "in turn with what is left of the design"


def test_the_sampler_is_told_of_what_it_did_not_draw_in_its_own_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    found = space()
    profile = ProfileEncoding(found)
    sampler = Sampler(profile.latent(), 2, 0)
    told: list[dict[str, Value]] = []
    monkeypatch.setattr(sampler, "tell", lambda number, latent, costs, ticket: told.append(latent))
    plan = uniform(found, 0.5, 8)
    proposer = Proposer(found, Arm(profile, sampler), 0, [Design(plan, Origin.DESIGN, "initial design")])
    for drawn in (False, True):
        proposal = proposer.propose()
        assert proposal is not None and (proposal.latent is not None) == drawn
        proposer.learn(trial(1, proposal.plan, found, proposal.latent), (0.1, 1.0), None, proposal)
        assert told.pop() == (proposal.latent or profile.encode(plan))


def test_plans_over_a_limit_are_told_after_a_resume_too(monkeypatch: pytest.MonkeyPatch) -> None:
    found = space()
    profile = ProfileEncoding(found)
    sampler = Sampler(profile.latent(), 2, 0)
    told: list[float | None] = []
    monkeypatch.setattr(sampler, "reject", lambda number, latent, ticket, violation: told.append(violation))
    proposer = Proposer(found, Arm(profile, sampler), 0)
    plan = uniform(found, 0.5, 8)
    gated = trial(1, plan, found, profile.encode(plan), state=TrialState.GATED)
    proposer.learn(gated, None, 0.5, None)
    assert told == [0.5]


def test_a_violation_without_a_ticket_is_kept_and_never_drawn_from() -> None:
    found = space()
    profile = ProfileEncoding(found)
    sampler = Sampler(profile.latent(), 2, 0)
    numbers = profile.encode(uniform(found, 0.5, 8))
    assert numbers is not None
    sampler.reject(1, numbers, None, 0.5)
    sampler.reject(2, {"channels.level": 0.5}, None, 0.5)  # in numbers of another space
    for _ in range(3):
        ticket, latent = sampler.ask()
        sampler.tell(10 + ticket, latent, (0.1, 1.0), ticket)


@pytest.mark.parametrize("name", ["tpe", "random", "nsga2"])
def test_numbers_of_another_description_tell_a_sampler_nothing(name: str) -> None:
    profile = ProfileEncoding(space())
    sampler = Sampler(profile.latent(), 2, 0, name)  # type: ignore[arg-type]
    sampler.tell(1, {"budget_ms": 1.0}, (0.1, 1.0))
    numbers = profile.encode(space().taught)
    assert numbers is not None
    sampler.tell(2, {key: 99.0 if key.endswith(".level") else value for key, value in numbers.items()}, (0.1, 1.0))
    assert not sampler._told, "the space was another"
    sampler.tell(3, numbers, (0.1, 1.0))
    assert set(sampler._told) == {3}


def test_a_space_where_nothing_can_be_decided_is_exhausted() -> None:
    found = space_over(replace(net("digits").context, min_fraction=1.0), "channels")
    proposer = make_proposer(found, SearchSection(), OBJECTIVES, Surrogates(), ("here",), {})
    labels = []
    while (proposal := proposer.propose()) is not None:
        labels.append(proposal.label)
    assert labels == ["teacher", "search"], "as it is, and taught once"


@pytest.mark.parametrize("part", ["initial_design", "profile", "learned", "levels"])
def test_parts_of_the_search_can_be_left_out(problem: Problem, part: str) -> None:
    settings = SearchSection(without=(part,))  # type: ignore[arg-type]
    proposer = make_proposer(
        problem.space, settings, OBJECTIVES, problem.surrogates, ("here",), {"here": problem.budget_ms}
    )
    found: list[str] = []
    for number in range(1, 160):
        proposal = proposer.propose()
        assert proposal is not None
        by_solver = proposal.origin is Origin.DESIGN and "budget_ms" in (proposal.latent or {})
        drawn = proposal.origin is Origin.SEARCH and bool(proposal.latent)
        found.append("initial_design" if by_solver else "profile" if drawn else proposal.origin.value)
        spec = problem.space.spec(proposal.plan)
        if spec.recovery is not None:
            ended = trial(number, proposal.plan, problem.space, proposal.latent, proposal.origin)
            proposer.learn(ended, (-problem.accuracy(spec, 1), problem.ms(spec)), None, proposal)
    for name in ("initial_design", "profile", "learned"):
        assert (name in found) == (part != name)


def test_a_space_of_few_plans_is_tried_to_the_last_one() -> None:
    found = space_over(replace(net("digits").context, min_fraction=0.95), "bits")
    proposer = make_proposer(found, SearchSection(without=("profile",)), OBJECTIVES, Surrogates(), ("here",), {})
    seen = set()
    while (proposal := proposer.propose()) is not None:
        seen.add(found.spec(proposal.plan).key())
    every = itertools.product(*(range(len(v.options)) for v in found.network))
    wanted = {found.spec(found.assemble(indices, found.taught)).key() for indices in every}
    assert wanted <= seen
