"""The sampler: Optuna, asked for latent numbers and told what came of them. Optuna lives here and in storage.py."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Literal

import optuna

from ..spaces.axis import Number, Parameter, Value

SamplerName = Literal["auto", "tpe", "random", "nsga2"]
MANY_TRIALS = 1500
"""Above this many trials TPE's proposals cost more than they bring: NSGA-II takes milliseconds."""


def distribution(parameter: Parameter) -> optuna.distributions.BaseDistribution:
    """Optuna's form of a parameter."""
    if isinstance(parameter, Number):
        return optuna.distributions.FloatDistribution(parameter.low, parameter.high, log=parameter.log)
    return optuna.distributions.CategoricalDistribution(parameter.options)


def holds(parameter: optuna.distributions.BaseDistribution, value: Value) -> bool:
    """Whether a value is one that could be drawn."""
    try:
        return parameter._contains(parameter.to_internal_repr(value))
    except (TypeError, ValueError):
        return False


class Sampler:
    """Draws latent numbers. objectives: how many values a plan is told with; lower is better.

    What it is told is kept in memory alone: a resumed study tells it everything again. A multi-objective TPE
    (Ozaki et al. 2020, GECCO, doi:10.1145/3377930.3389817) with all numbers drawn jointly is the default; NSGA-II
    takes over where a study grows too long for it.
    """

    def __init__(self, latent: Mapping[str, Parameter], objectives: int, seed: int, name: SamplerName = "auto") -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._distributions = {k: distribution(p) for k, p in latent.items()}
        self._seed = seed
        self._name = name
        self._study = optuna.create_study(directions=["minimize"] * objectives, sampler=self._sampler(name))
        self._told = 0

    def ask(self) -> tuple[int, dict[str, Value]]:
        """A ticket and latent numbers."""
        if self._name == "auto" and self._told >= MANY_TRIALS:
            self._name = "nsga2"
            self._study.sampler = self._sampler(self._name)
        trial = self._study.ask(self._distributions)
        return trial.number, dict(trial.params)

    def tell(self, ticket: int, values: Sequence[float]) -> None:
        """What the plan of this ticket was worth."""
        self._study.tell(ticket, list(values))
        self._told += 1

    def reject(self, ticket: int, violation: float | None = None) -> None:
        """The plan of this ticket cannot be used. violation: measured / limit - 1, where the sampler is to learn
        from it; else the ticket is forgotten."""
        if violation is not None:
            # 5.0 constrains through the trial itself, before it is told
            optuna.trial.Trial(self._study, self._study.trials[ticket]._trial_id).set_constraint(
                "limit", max(0.0, violation)
            )
            self._study.tell(ticket, state=optuna.trial.TrialState.PRUNED)
        else:
            self._study.tell(ticket, state=optuna.trial.TrialState.FAIL)

    def add(self, latent: Mapping[str, Value], values: Sequence[float]) -> None:
        """A plan that somebody else proposed, and what it was worth."""
        known = {k: v for k, v in latent.items() if k in self._distributions}
        if any(not holds(self._distributions[k], v) for k, v in known.items()):
            return  # of an earlier run of the study, whose space was another
        inside = known
        trial = optuna.trial.create_trial(
            state=optuna.trial.TrialState.COMPLETE,
            values=list(values),
            params=inside,
            distributions={k: self._distributions[k] for k in inside},
        )
        self._study.add_trial(trial)
        self._told += 1

    def _sampler(self, name: SamplerName) -> optuna.samplers.BaseSampler:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            if name == "random":
                return optuna.samplers.RandomSampler(seed=self._seed)
            if name == "nsga2":
                return optuna.samplers.NSGAIISampler(seed=self._seed, population_size=24)
            return optuna.samplers.TPESampler(
                seed=self._seed, multivariate=True, n_startup_trials=8, n_ei_candidates=48
            )
