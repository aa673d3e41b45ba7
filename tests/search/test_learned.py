"""Learned proposals: laws of their parts, and what they find where the truth is known."""

from __future__ import annotations

import random
from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from simulation import TARGET, Problem, make_problem

from autocompress.search.pareto import hypervolume
from autocompress.search.propose.factorial import factorial
from autocompress.search.propose.learned.accuracy_model import AccuracyLearner
from autocompress.search.propose.learned.coding import Coding
from autocompress.search.propose.learned.cost_scale import CostScale
from autocompress.search.propose.learned.features import Features
from autocompress.search.propose.learned.improvement import NODES, added, staircase
from autocompress.search.propose.learned.known import Known, reference_point
from autocompress.search.propose.learned.learned import FEWEST, LearnedProposals
from autocompress.search.propose.role_classes import role_classes
from autocompress.search.propose.sources import FLOOR, Gains, Sources
from autocompress.search.propose.strategy import make_proposer
from autocompress.search.trial import Origin, TrialState
from autocompress.spaces.plan import Plan
from autocompress.spaces.surrogates import Surrogates
from autocompress.studies.schema import SearchSection

points = st.lists(st.tuples(st.floats(0.1, 10), st.floats(0, 1)), max_size=12)


@pytest.fixture(scope="module")
def problem() -> Problem:
    return make_problem()


def drawn(problem: Problem, random_: random.Random) -> Plan:
    """A plan drawn variable by variable."""
    choices = {}
    for variable in problem.space.variables:
        if variable.bounds is not None:
            choices[variable.name] = variable.bounds.clip(random_.uniform(variable.bounds.low, variable.bounds.high))
        else:
            choices[variable.name] = random_.choice(variable.drawn)
    return problem.space.repair(Plan(choices))


@settings(deadline=None)
@given(st.integers(0, 10**6))
def test_a_row_is_its_plan(seed: int) -> None:
    problem = make_problem(4)
    plan = drawn(problem, random.Random(seed))
    coding = Coding(problem.space)
    again = coding.plan(coding.row(plan))
    ours, theirs = problem.space.spec(plan), problem.space.spec(again)
    assert (ours.channels, ours.bits) == (theirs.channels, theirs.bits)
    assert ours.recovery is not None and theirs.recovery is not None
    assert theirs.recovery.temperature == pytest.approx(ours.recovery.temperature, rel=0.01)
    assert theirs.recovery.alpha == pytest.approx(ours.recovery.alpha, abs=0.01)


@given(points, st.floats(0.1, 10), st.floats(0, 1))
def test_what_a_point_adds_is_the_difference_of_hypervolumes(
    found: list[tuple[float, float]], ms: float, cost: float
) -> None:
    reference = (9.0, 0.9)
    front = staircase(np.array([p[0] for p in found]), np.array([p[1] for p in found]), reference)
    before, after = hypervolume(found, reference), hypervolume([*found, (ms, cost)], reference)
    said = float(added(np.array([ms]), np.array([cost]), front, reference)[0])
    assert said == pytest.approx(after - before, abs=1e-9)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 1)), max_size=60))
def test_sources_share_everything_and_none_is_left_without(told: list[tuple[str, float]]) -> None:
    sources = Sources({"a": 1.0, "b": 1.0, "c": 4.0})
    for name, gain in told:
        sources.credit(name, gain)
    shares = sources.shares(["a", "b", "c"])
    assert sum(shares.values()) == pytest.approx(1.0)
    assert min(shares.values()) >= FLOOR / (1 + 3 * FLOOR)


def test_the_source_that_gains_has_more_and_loses_it_when_it_gains_no_more() -> None:
    sources = Sources({"a": 1.0, "b": 1.0})
    for _ in range(20):
        sources.credit("a", 0.1)
        sources.credit("b", 0.0)
    best = sources.shares(["a", "b"])["a"]
    assert best > 0.75
    for _ in range(60):
        sources.credit("a", 0.0)
        sources.credit("b", 0.1)
    assert sources.shares(["a", "b"])["a"] < 0.5


@pytest.mark.parametrize("floor, gains", [(None, True), (0.1, False), (0.01, True)])
def test_what_the_user_does_not_allow_is_no_gain_once_something_is_allowed(floor: float | None, gains: bool) -> None:
    found = Gains(floor=floor)
    for ms, cost in ((10.0, 0.05), (5.0, 0.5), (9.0, 0.3)):
        found.of(ms, cost)
    assert (found.of(7.0, 0.25) > 0) == gains
    assert found.of(8.0, 0.04) > 0


def test_levels_by_role_begin_in_the_middle_and_soon_span_all(problem: Problem) -> None:
    plans = factorial(problem.space, problem.surrogates.latency[TARGET], problem.space.taught)
    assert len(plans) == len(set(plans)) and all(problem.space.repair(plan) == plan for plan in plans)
    ms = [problem.surrogates.latency[TARGET].predict_ms(problem.space.spec(plan)) for plan in plans]
    inside = sorted(ms)[len(ms) // 5 : -len(ms) // 5]
    assert inside[0] <= ms[0] <= inside[-1], "ends of the range are of less use than its middle"
    assert max(ms[:6]) > 0.9 * max(ms) and min(ms[:6]) < 1.2 * min(ms)


def test_the_model_orders_plans_that_it_has_not_seen(problem: Problem) -> None:
    random_ = random.Random(0)
    plans = [drawn(problem, random_) for _ in range(160)]
    coding = Coding(problem.space)
    features = Features(coding, role_classes(problem.space), problem.surrogates.sensitivity)
    rows = np.array([coding.row(plan) for plan in plans])
    specs = [problem.space.spec(plan) for plan in plans]
    costs = np.array([1 - problem.accuracy(spec, 1.0) for spec in specs])
    ms = np.array([problem.ms(spec) for spec in specs])
    model = AccuracyLearner(0).fit(features.of(rows[:80]), costs[:80], ms[:80])
    mean, std = model.predict(features.of(rows[80:]))
    assert np.corrcoef(mean, costs[80:])[0, 1] > 0.8
    assert np.all(std > 0)


def test_many_workers_do_not_wait_for_a_model_fitted_anew_for_each(problem: Problem) -> None:
    """None of what is proposed is told before the last one is: so many trials run at a time."""
    random_ = random.Random(2)
    learned = LearnedProposals(problem.space, problem.surrogates, None, 0)
    for number in range(16):
        plan = drawn(problem, random_)
        spec = problem.space.spec(plan)
        learned.tell(number, Known(plan, -problem.accuracy(spec, 1.0), problem.ms(spec), True))
    asked: set[Plan] = set()
    models = []
    for _ in range(48):
        (plan, *_) = learned.propose(lambda plan: plan not in asked)
        asked.add(plan)
        models.append(learned.model)
    assert len({id(model) for model in models}) <= 20
    assert len({id(model) for model in models[:4]}) > 1, "one worker has the newest model"


@pytest.mark.parametrize("known", [True, False])
def test_what_is_proposed_beats_chance(problem: Problem, known: bool) -> None:
    """Twenty plans that were learned of add more than twenty drawn, whether anything was known beforehand or not."""
    surrogates = problem.surrogates if known else Surrogates()
    random_ = random.Random(1)
    first = [drawn(problem, random_) for _ in range(12)]
    reference = (problem.ms(problem.space.spec(Plan())), 0.3)

    def point(plan: Plan) -> tuple[float, float]:
        spec = problem.space.spec(plan)
        return problem.ms(spec), 1 - problem.accuracy(spec, 1.0)

    learned = LearnedProposals(problem.space, surrogates, None, 0)
    tried = {plan: point(plan) for plan in first}
    for number, (plan, (ms, cost)) in enumerate(tried.items()):
        assert learned.ready == (number >= FEWEST)
        learned.tell(number, Known(plan, cost, ms, True))
    for number in range(100, 120):
        plans = learned.propose(lambda plan: plan not in tried)
        assert plans and not set(plans) & tried.keys()
        plan = plans[learned.best([(plan, point(plan)[0]) for plan in plans])]
        tried[plan] = point(plan)
        learned.tell(number, Known(plan, tried[plan][1], tried[plan][0], True))
    others = [point(plan) for plan in first] + [point(drawn(problem, random_)) for _ in range(40)]
    assert hypervolume(list(tried.values()), reference) > hypervolume(others, reference)


def test_nothing_is_proposed_before_there_is_something_to_learn_from(problem: Problem) -> None:
    learned = LearnedProposals(problem.space, problem.surrogates, None, 0)
    assert not learned.ready and learned.propose(lambda plan: True) == []


def test_the_moments_looked_at_are_those_of_a_normal_cost() -> None:
    assert np.mean(NODES) == pytest.approx(0.0) and np.mean(NODES**2) == pytest.approx(1.0, abs=0.05)


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=20))
def test_bent_costs_are_straightened_again_and_keep_their_order(costs: list[float]) -> None:
    scale = CostScale.of(np.array(costs))
    bent = scale.bent(np.array(sorted(costs)))
    assert np.all(np.diff(bent) >= 0)
    assert scale.straight(bent) == pytest.approx(np.array(sorted(costs)), rel=1e-6, abs=1e-6)


def test_a_shape_that_was_measured_and_not_chosen_is_no_longer_awaited(problem: Problem) -> None:
    random_ = random.Random(3)
    learned = LearnedProposals(problem.space, problem.surrogates, None, 0)
    for number in range(30):
        plan = drawn(problem, random_)
        spec = problem.space.spec(plan)
        learned.tell(number, Known(plan, 1 - problem.accuracy(spec, 1.0), problem.ms(spec), True))
    plans = learned.propose(lambda plan: True)
    assert len(plans) > 1
    learned.best([(plans[-1], 1.0)])  # all others missed a limit
    assert plans[0] not in learned._pending and plans[-1] in learned._pending


@pytest.mark.parametrize("sign", [1, -1])
def test_the_guide_is_believed_only_while_it_orders_what_was_trained(problem: Problem, sign: int) -> None:
    random_ = random.Random(4)
    learned = LearnedProposals(problem.space, problem.surrogates, None, 0)
    assert learned.guide_fits, "nothing speaks against it yet"
    for number in range(24):
        plan = drawn(problem, random_)
        harm = problem.surrogates.harm(problem.space, plan)
        learned.tell(number, Known(plan, sign * harm, problem.ms(problem.space.spec(plan)), True))
    assert learned.guide_fits == (sign > 0)


def test_where_only_sizes_are_traded_the_model_learns_them_from_gates(problem: Problem) -> None:
    objectives = ("accuracy", "size_bytes")
    proposer = make_proposer(problem.space, SearchSection(), objectives, problem.surrogates, ("here",), {})
    origins = set()
    for number in range(1, 45):
        proposal = proposer.propose()
        assert proposal is not None
        spec = problem.space.spec(proposal.plan)
        size_bytes = 1000 + 100 * sum(spec.channels.values())
        begun = proposal.trial(number, proposal.plan, spec, 0)
        proposer.measured(replace(begun, gate_bytes=size_bytes))
        ended = replace(begun, state=TrialState.FINISHED)
        proposer.learn(ended, (problem.accuracy(spec, 1.0) * -1, float(size_bytes)), None, proposal)
        origins.add(proposal.origin)
    assert Origin.LEARNED in origins


def test_what_misses_the_least_metric_is_of_no_interest_once_something_meets_it(problem: Problem) -> None:
    plans = [drawn(problem, random.Random(seed)) for seed in range(3)]
    known = [
        Known(plan, cost, ms, True) for plan, cost, ms in zip(plans, (0.1, 0.2, 0.6), (3.0, 2.0, 1.0), strict=True)
    ]
    assert reference_point(known, 4.0, None)[1] > 0.6, "the fastest counts too"
    most_ms, worst = reference_point(known, 4.0, 0.15)
    assert most_ms == 4.0 and 0.15 <= worst < 0.2
    assert reference_point(known[1:], 4.0, 0.15)[1] > 0.6, "nothing meets it yet: what comes closer counts"
