"""Optuna's samplers with their own defaults on the flat space."""

from __future__ import annotations

import warnings

import optuna

from autocompress.spaces.plan import Plan
from autocompress.spaces.space import Space

from ..flat_space import flat_parameters, plan_of

SAMPLERS = {
    "random": optuna.samplers.RandomSampler,
    "nsga2": optuna.samplers.NSGAIISampler,
    "tpe": optuna.samplers.TPESampler,
}


class FlatSampler:
    """Draws plans, and is told latency (ms) and accuracy."""

    def __init__(self, space: Space, sampler: str, seed: int) -> None:
        """Draw plans of `space` with a sampler of SAMPLERS."""
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._space, self._parameters = space, flat_parameters(space)
        self._study = optuna.create_study(directions=["minimize", "minimize"], sampler=SAMPLERS[sampler](seed=seed))
        self._asked: dict[int, optuna.Trial] = {}

    def ask(self) -> tuple[Plan, int]:
        """Return a plan and its ticket."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            trial = self._study.ask(self._parameters)
        self._asked[trial.number] = trial
        return plan_of(self._space, trial.params), trial.number

    def tell(self, ticket: int, latency_ms: float | None, accuracy: float | None, over: float | None) -> None:
        """Take in what a plan was worth.

        Args:
            ticket: Of the plan.
            latency_ms: As measured, None for a plan that failed.
            accuracy: Of the file. It is None for a plan that was not trained because it is over the budget: samplers
                rank such plans by `over` alone, so that any value will do.
            over: measured / budget - 1; None without a budget.
        """
        trial = self._asked.pop(ticket)
        if latency_ms is None:
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
            return
        if over is not None:
            trial.set_constraint("budget", over)
        self._study.tell(trial, [latency_ms, 1.0 if accuracy is None else 1 - accuracy])
