"""Of several shapes one is trained: the measured latencies decide, and nothing is lost where one cannot be measured."""

from __future__ import annotations

from pathlib import Path

import pytest
from simulation import HOUR_S, TARGET, SimulatedExecutor, latency, make_driver, make_problem

from autocompress.search.evaluate.job import Job, JobResult
from autocompress.search.feasibility import Limits
from autocompress.search.shape_choice import ShapeChoice
from autocompress.search.trial import Origin, Trial, TrialState
from autocompress.spaces.plan import Plan

PROBLEM = make_problem(4)


def gated(trial: Trial, ms: float) -> Trial:
    return Trial(
        trial.number, trial.plan, trial.spec, trial.origin, trial.label, gate={TARGET: latency(ms)}, gate_bytes=1
    )


def trial(plan: Plan) -> Trial:
    plan = PROBLEM.space.repair(plan)
    return Trial(1, plan, PROBLEM.space.spec(plan), Origin.LEARNED, "learned")


@pytest.mark.parametrize(("budget_ms", "chosen"), [(None, 2), (2.5, 1), (0.1, 2)])
def test_the_best_of_those_that_may_meet_the_limits_is_chosen(budget_ms: float | None, chosen: int) -> None:
    plans = [PROBLEM.space.uniform({"channels": width}, PROBLEM.space.taught) for width in (0.75, 0.5, 0.25)]
    shapes = ShapeChoice(PROBLEM.space, Limits((TARGET,), budget_ms), lambda trials: len(trials) - 1)
    now = trial(plans[0])
    shapes.open(now, plans[1:])
    for ms in (1.0, 2.0, 3.0):
        now, further = shapes.measured(gated(now, ms))
    assert not further and now.plan == PROBLEM.space.repair(plans[chosen])
    assert now.gate[TARGET].p50_ms == pytest.approx(1.0 + chosen)
    assert shapes.measured(now) == (now, False), "what is decided stays"


def test_a_shape_that_cannot_be_measured_is_left_out() -> None:
    plans = [PROBLEM.space.uniform({"channels": width}, PROBLEM.space.taught) for width in (0.75, 0.5)]
    shapes = ShapeChoice(PROBLEM.space, Limits((TARGET,)), lambda trials: 0)
    now = trial(plans[0])
    shapes.open(now, plans[1:])
    now, further = shapes.measured(gated(now, 1.0))
    assert further and now.plan == PROBLEM.space.repair(plans[1]) and not now.gate
    now, further = shapes.measured(now, failed=True)
    assert not further and now.plan == PROBLEM.space.repair(plans[0]) and now.gate[TARGET].p50_ms == 1.0


@pytest.mark.parametrize(("others_try", "chosen"), [((), 2), ((2,), 1), ((1, 2), 0)])
def test_what_another_driver_tries_is_not_chosen(others_try: tuple[int, ...], chosen: int) -> None:
    plans = [PROBLEM.space.uniform({"channels": width}, PROBLEM.space.taught) for width in (0.75, 0.5, 0.25)]
    theirs = [PROBLEM.space.repair(plans[number]) for number in others_try]
    limits, taken = Limits((TARGET,)), list[Plan]()

    def take(trial: Trial) -> bool:
        taken.append(trial.plan)
        return trial.plan not in theirs

    shapes = ShapeChoice(PROBLEM.space, limits, lambda trials: len(trials) - 1, take)
    now = trial(plans[0])
    shapes.open(now, plans[1:])
    for ms in (1.0, 2.0, 3.0):
        now, further = shapes.measured(gated(now, ms))
    assert not further and now.plan == PROBLEM.space.repair(plans[chosen])
    assert chosen == 0 or taken[-1] == now.plan, "others know of it"


@pytest.mark.slow
def test_a_search_measures_several_shapes_and_trains_one_of_them(tmp_path: Path) -> None:
    class Failing(SimulatedExecutor):
        def result(self, job: Job) -> JobResult:
            if job.step == "gate" and len(self.jobs) % 7 == 0:
                return JobResult(failure="it cannot be")
            return super().result(job)

    executor = Failing(make_problem())
    driver = make_driver(executor.problem, executor, tmp_path / "study")
    driver.run(lambda: executor.clock_s > 1.5 * HOUR_S, lambda _: None)
    gates: dict[int, list[str]] = {}
    for job in executor.jobs:
        if job.step == "gate":
            gates.setdefault(job.number, []).append(job.spec.key())
    learned = [t for t in driver.trials if t.origin is Origin.LEARNED]
    assert any(len(gates[t.number]) > 1 for t in learned)
    assert all(t.spec.key() in gates[t.number] for t in learned)
    finished = [t.spec.key() for t in driver.trials if t.state is TrialState.FINISHED]
    assert len(set(finished)) == len(finished), "no plan is trained twice"
