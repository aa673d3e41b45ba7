"""The sampler: Optuna, asked for numbers and told what came of them. Optuna lives here and in store/trials.py."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import optuna

from ...spaces.variables import Number, Value
from ..pareto import ranks
from .encoding import Parameter

SamplerName = Literal["auto", "tpe", "gp", "random", "nsga2"]
MEMORY, MOST = 400, 500
"""Trials that a sampler is told of, and that it may hold before all are told anew: proposals take longer with more."""
STALE = 16
"""All are told anew once more than one in so many has come to be worth something else, or nothing."""


def distribution(parameter: Parameter) -> optuna.distributions.BaseDistribution:
    """Return Optuna's form of a parameter."""
    if isinstance(parameter, Number):
        return optuna.distributions.FloatDistribution(parameter.low, parameter.high, log=parameter.log)
    return optuna.distributions.CategoricalDistribution(parameter.options)


def holds(parameter: optuna.distributions.BaseDistribution, value: Value) -> bool:
    """Tell whether a value is one that could be drawn."""
    try:
        return parameter._contains(parameter.to_internal_repr(value))
    except (TypeError, ValueError):
        return False


class Sampler:
    """Draws the numbers of an encoding.

    What it is told is kept in memory alone: a resumed study tells it everything again. A multi-objective TPE
    (Ozaki et al. 2020, GECCO, doi:10.1145/3377930.3389817) with all numbers drawn jointly is the default. It sees the
    best and the latest of what it was told, so that a proposal costs the same after thousands of trials.
    """

    def __init__(self, latent: Mapping[str, Parameter], objectives: int, seed: int, name: SamplerName = "auto") -> None:
        """Begin without any knowledge.

        Args:
            latent: The numbers to draw: name -> range or options.
            objectives: How many values a plan is told with; lower is better.
            seed: Of the draws.
            name: Of the method; "auto" is TPE.
        """
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._distributions = {k: distribution(p) for k, p in latent.items()}
        self._objectives = objectives
        self._sampler = _make(name, seed)
        self._told: dict[int, optuna.trial.FrozenTrial | _Violation] = {}
        self._seen: set[int] = set()
        self._stale: set[int] = set()
        self._study = self._new_study()

    def ask(self) -> tuple[int, dict[str, Value]]:
        """Return a ticket and numbers."""
        if not self._evolves:
            self._refresh()
        trial = self._study.ask(self._distributions)
        if not self._evolves:  # a trial left open would repel the sampler for ever
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
        return trial.number, dict(trial.params)

    def tell(
        self, number: int, latent: Mapping[str, Value], values: Sequence[float], ticket: int | None = None
    ) -> None:
        """Learn what the plan of a trial is worth, whoever proposed it; what is told later of it counts instead.

        Args:
            number: Of the trial.
            latent: Its numbers; it is passed over where they are not those of this sampler.
            values: Its objectives, lower is better.
            ticket: The one that it was drawn with.
        """
        inside = {k: v for k, v in latent.items() if k in self._distributions}
        if len(inside) < len(self._distributions) or any(
            not holds(self._distributions[k], v) for k, v in inside.items()
        ):
            return  # described in other numbers, or of an earlier run of the study, whose space was another
        trial = optuna.trial.create_trial(
            state=optuna.trial.TrialState.COMPLETE,
            values=list(values),
            params=inside,
            distributions=self._distributions,
        )
        if not self._evolves:
            self._forget(number)
            self._told[number] = trial
        elif number not in self._told:  # what evolves is told once
            self._told[number] = trial
            if ticket is None:
                self._study.add_trial(trial)
            else:
                self._study.tell(ticket, list(values))

    def reject(
        self, number: int, latent: Mapping[str, Value], ticket: int | None, violation: float | None = None
    ) -> None:
        """Learn that the plan of a trial cannot be used.

        Args:
            number: Of the trial.
            latent: Its numbers.
            ticket: The one that it was drawn with.
            violation: measured / limit - 1, where the sampler is to learn from it; else the ticket is forgotten, with
                what was told of the trial before.
        """
        if not self._evolves:
            self._forget(number)
            if violation is not None and all(holds(d, latent.get(k, "")) for k, d in self._distributions.items()):
                self._told[number] = _Violation({k: latent[k] for k in self._distributions}, violation)
        elif number not in self._told and ticket is not None:
            _tell_violation(self._study, ticket, violation)

    def _forget(self, number: int) -> None:
        """Forget what was told of this trial."""
        if self._told.pop(number, None) is not None and number in self._seen:
            self._stale.add(number)

    @property
    def _evolves(self) -> bool:
        """Tell whether the sampler goes on from the trials that it drew itself, and cannot be told of others."""
        return isinstance(self._sampler, optuna.samplers.NSGAIISampler)

    def _new_study(self) -> optuna.Study:
        return optuna.create_study(directions=["minimize"] * self._objectives, sampler=self._sampler)

    def _refresh(self) -> None:
        """Let the study hold what the sampler is to see."""
        kept = self._worth_keeping()
        # Optuna's studies forget nothing, and to tell all anew costs more than a few too many, or out of date
        if len(self._seen | kept.keys()) > MOST or len(self._stale) > len(self._seen) // STALE:
            self._study, self._seen, self._stale = self._new_study(), set(), set()
        for number, told in kept.items():
            if number in self._seen:
                continue
            self._seen.add(number)
            if isinstance(told, _Violation):
                self._study.enqueue_trial(dict(told.latent))
                _tell_violation(self._study, self._study.ask(self._distributions).number, told.violation)
            else:
                self._study.add_trial(told)

    def _worth_keeping(self) -> dict[int, optuna.trial.FrozenTrial | _Violation]:
        if len(self._told) <= MEMORY:
            return self._told
        numbers = list(self._told)
        latest = set(numbers[-MEMORY // 2 :])
        done = {n: t.values for n in numbers if n not in latest and not isinstance(t := self._told[n], _Violation)}
        ranked = sorted(zip(ranks(list(done.values())), done, strict=True))
        best = {n for _, n in ranked[: MEMORY - len(latest)]}
        return {n: self._told[n] for n in numbers if n in latest or n in best}


@dataclass(frozen=True)
class _Violation:
    latent: dict[str, Value]
    violation: float


def _tell_violation(study: optuna.Study, ticket: int, violation: float | None) -> None:
    if violation is None:
        study.tell(ticket, state=optuna.trial.TrialState.FAIL)
        return
    # 5.0 constrains through the trial itself, before it is told
    optuna.trial.Trial(study, study.trials[ticket]._trial_id).set_constraint("limit", max(0.0, violation))
    study.tell(ticket, state=optuna.trial.TrialState.PRUNED)


def _make(name: SamplerName, seed: int) -> optuna.samplers.BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if name == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        if name == "nsga2":
            return optuna.samplers.NSGAIISampler(seed=seed, population_size=24)
        if name == "gp":
            return optuna.samplers.GPSampler(seed=seed)
        return optuna.samplers.TPESampler(seed=seed, multivariate=True, n_startup_trials=8, n_ei_candidates=48)
