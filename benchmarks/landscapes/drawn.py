"""Rivals whose designs are drawn by Optuna."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import optuna

from autocompress.spaces.plan import Plan
from autocompress.spaces.variables import Value

from .executor import SimulatedExecutor
from .landscape import Landscape
from .rival import Rival

PATIENCE = 20
"""After so many designs over the budget in a row TPE is told by how much they were; before that it only forgets them,
which serves it better (it crowds into the first pocket under the budget that it is told of)."""


class Drawn(Rival):
    """Optuna with some parameters that stand for a plan."""

    def __init__(self, landscape: Landscape, executor: SimulatedExecutor, seed: int, name: str) -> None:
        """Search with the sampler of this name: random, nsga2, tpe, or tpe-apart (each parameter by itself)."""
        super().__init__(landscape, executor, seed)
        self._name = name

    def parameters(self) -> dict[str, optuna.distributions.BaseDistribution]:
        """Return what is drawn."""
        raise NotImplementedError("parameters: return what is drawn")

    def plan(self, drawn: Mapping[str, Value]) -> Plan:
        """Return what drawn parameters stand for."""
        raise NotImplementedError("plan: return what drawn parameters stand for")

    def run(self, horizon_s: float) -> None:
        """Search until the clock passes `horizon_s`."""
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        study = optuna.create_study(directions=["minimize"] * 2, sampler=_sampler(self._name, self.seed))
        parameters = self.parameters()
        over = 0
        while self.executor.clock_s < horizon_s:
            trial = study.ask(parameters)
            ms, accuracy = self.tried(self.plan(trial.params))
            over = 0 if accuracy is not None else over + 1
            if accuracy is None and self._name != "nsga2" and over <= PATIENCE:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
                continue
            trial.set_constraint("limit", max(0.0, ms / self.limit_ms - 1))
            study.tell(trial, [ms, 1 - (accuracy or 0.0)])


def _sampler(name: str, seed: int) -> optuna.samplers.BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if name == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        if name == "nsga2":
            return optuna.samplers.NSGAIISampler(seed=seed, population_size=20)
        return optuna.samplers.TPESampler(seed=seed, multivariate=name == "tpe", n_startup_trials=10)
