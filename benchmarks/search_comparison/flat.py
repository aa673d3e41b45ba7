"""Optuna on the flat space: one integer per site, the index of its option, and the numbers of the recovery."""

from __future__ import annotations

import warnings

import optuna

from autocompress.search.propose.samplers import distribution
from autocompress.spaces.axes.recovery import RecoveryAxis
from autocompress.spaces.plan import Plan
from autocompress.spaces.sites import Sites
from autocompress.spaces.space import Space

SAMPLERS = {
    "random": optuna.samplers.RandomSampler,
    "nsga2": optuna.samplers.NSGAIISampler,
    "tpe": optuna.samplers.TPESampler,
}


class FlatSampler:
    """Draws plans, and is told latency (ms) and accuracy. All options of the samplers are Optuna's defaults."""

    def __init__(self, space: Space, sampler: str, seed: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._space, self._sites = space, Sites(space)
        self._recovery = next((axis for axis in space.axes if isinstance(axis, RecoveryAxis)), None)
        numbers = {} if self._recovery is None else self._recovery.parameters()
        self._distributions: dict[str, optuna.distributions.BaseDistribution] = {
            **{site.name: optuna.distributions.IntDistribution(0, len(site.options) - 1) for site in self._sites},
            **{name: distribution(parameter) for name, parameter in numbers.items()},
        }
        self._study = optuna.create_study(directions=["minimize", "minimize"], sampler=SAMPLERS[sampler](seed=seed))
        self._asked: dict[int, optuna.Trial] = {}

    def ask(self) -> tuple[Plan, int]:
        """A plan and its ticket."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            trial = self._study.ask(self._distributions)
        self._asked[trial.number] = trial
        choices = [int(trial.params[site.name]) for site in self._sites]
        plan = self._sites.assemble(choices, Plan(recovery=self._space.default_recovery))
        if self._recovery is not None:
            plan = self._space.settled(self._recovery.apply(plan, trial.params))
        return plan, trial.number

    def tell(self, ticket: int, latency_ms: float | None, accuracy: float | None, over: float | None) -> None:
        """What the plan of this ticket was worth. accuracy: None for a plan that was not trained for being over the
        budget: samplers rank such plans by `over` alone, so any value will do there.
        """
        trial = self._asked.pop(ticket)
        if latency_ms is None:
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
            return
        if over is not None:
            trial.set_constraint("budget", over)
        self._study.tell(trial, [latency_ms, 1.0 if accuracy is None else 1 - accuracy])
