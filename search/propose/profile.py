"""The profile encoding: a level and trends along the depth for each role of an axis that has many variables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...spaces.plan import Plan
from ...spaces.presence import absent_layers
from ...spaces.space import Space
from ...spaces.variables import Number, Option, Value, Variable
from .counts import Counted, on_or_off
from .encoding import Choice, Parameter
from .role_classes import role_classes

TREND = Number(-0.8, 0.8)
"""Range of each trend."""
FEW_OPTIONS, FEW_VARIABLES = 4, 8
"""A role with at most so many options at each of at most so many variables is drawn variable by variable."""


@dataclass(frozen=True)
class _Curve:
    """How one role with long rows of sizes is described.

    A variable at depth d keeps level * exp(slope * t + sensitivity * s) of its size, snapped to the nearest option; t
    runs from -1 at the first variable of the role to 1 at the last. s says how sensitive the variable is beside others
    of its axis, -1 to 1. Few numbers describe networks of any depth; single variables are moved by what was learned.
    """

    name: str
    variables: tuple[Variable, ...]
    ranks: Mapping[str, float]

    @cached_property
    def families(self) -> tuple[str, ...]:
        """The sorts of options that can be chosen, beside the first option."""
        return tuple(dict.fromkeys(f for v in self.variables for f in v.families[1:]))

    @cached_property
    def trends(self) -> dict[str, np.ndarray]:
        """Trend -> its factor at each variable, of the trends that can be told apart."""
        depth = np.array([v.depth for v in self.variables])
        sensitive = np.array([self.ranks.get(v.name, 0.0) for v in self.variables])
        found = {}
        if (span := float(np.ptp(depth))) > 0:
            found["slope"] = 2 * (depth - depth.min()) / span - 1
        if len(self.variables) > 2 and len(set(sensitive)) > 1:
            found["sensitivity"] = sensitive
        return found

    def latent(self) -> dict[str, Parameter]:
        least = min(v.parts[-1] for v in self.variables)
        found: dict[str, Parameter] = {}
        if len(self.families) > 1:
            found[f"{self.name}.sort"] = Choice(("none", *self.families))
        found[f"{self.name}.level"] = Number(least, 1.0)
        return found | {f"{self.name}.{name}": TREND for name in self.trends}

    def decode(self, latent: Mapping[str, Value]) -> dict[str, Option]:
        sort = str(latent.get(f"{self.name}.sort", self.families[0] if len(self.families) == 1 else "none"))
        exponent = np.zeros(len(self.variables))
        for name, factor in self.trends.items():
            exponent += float(latent.get(f"{self.name}.{name}", 0.0)) * factor
        wanted = float(latent[f"{self.name}.level"]) * np.exp(exponent)
        return {v.name: _snapped(v, part, sort) for v, part in zip(self.variables, wanted, strict=True)}

    def encode(self, plan: Plan, gone: frozenset[str] = frozenset()) -> dict[str, Value]:
        """Return the least-squares fit of the logarithms of the parts that are left.

        Args:
            plan: The plan.
            gone: Layers that it lacks: what it says of these counts only where it lacks all.
        """
        at = [v.index(plan.choices.get(v.name)) for v in self.variables]
        found: dict[str, Value] = {}
        if len(self.families) > 1:
            taken = [v.families[i] for v, i in zip(self.variables, at, strict=True) if i]
            found[f"{self.name}.sort"] = max(sorted(set(taken)), key=taken.count) if taken else "none"
        logs = np.log([max(v.parts[i], 1e-3) for v, i in zip(self.variables, at, strict=True)])
        columns = np.stack([np.ones(len(logs)), *self.trends.values()], axis=1)
        there = np.array([not gone.issuperset(v.layers) for v in self.variables])
        rows = there if there.any() else ~there
        fit, *_ = np.linalg.lstsq(columns[rows], logs[rows], rcond=None)
        level = self.latent()[f"{self.name}.level"]
        assert isinstance(level, Number)
        found[f"{self.name}.level"] = min(level.high, max(level.low, math.exp(float(fit[0]))))
        for name, value in zip(self.trends, fit[1:], strict=True):
            found[f"{self.name}.{name}"] = min(TREND.high, max(TREND.low, float(value)))
        return found


class ProfileEncoding:
    """Describes plans by a curve for each role of many variables, and by the options of all others."""

    def __init__(self, space: Space, ranks: Mapping[str, float] | None = None) -> None:
        """Describe plans of `space`.

        Args:
            space: The space.
            ranks: Variable name -> how sensitive it is beside others of its axis, -1 to 1; see `sensitivity_ranks`.
        """
        self._space = space
        self._curves: list[_Curve | Counted] = []
        self._single: list[Variable] = []
        rows: dict[str, list[Variable]] = {}
        for known in role_classes(space):
            its = [v for p in known.places if (v := space.network[p]).is_searched and v.kind == "ordered"]
            few = len(its) <= FEW_VARIABLES and all(len(v.options) <= FEW_OPTIONS for v in its)
            if its and not few:
                rows[known.name] = its
        for name, its in rows.items():
            made = Counted if on_or_off(its) else _Curve
            self._curves.append(made(name, tuple(its), ranks or {}))
        curved = {v.name for its in rows.values() for v in its}
        self._single += [v for v in space.variables if v.is_searched and v.name not in curved]

    def latent(self) -> dict[str, Parameter]:
        """Return a level and trends for each curve, and a parameter for each other variable."""
        found: dict[str, Parameter] = {}
        for curve in self._curves:
            found |= curve.latent()
        for variable in self._single:
            found[variable.name] = parameter_of(variable)
        return found

    def decode(self, latent: Mapping[str, Value]) -> Plan:
        """Return the legal plan that `latent` stands for."""
        choices = dict(self._space.taught.choices)
        for curve in self._curves:
            choices |= curve.decode(latent)
        for variable in self._single:
            choices[variable.name] = option_of(variable, latent[variable.name])
        return self._space.repair(Plan(choices))

    def encode(self, plan: Plan) -> dict[str, Value] | None:
        """Return the numbers that come nearest to a plan; None for a plan that is not trained."""
        if not is_drawn(self._space, plan):
            return None
        found: dict[str, Value] = {}
        gone = absent_layers(self._space.context, self._space.spec(plan))
        for curve in self._curves:
            found |= curve.encode(plan) if isinstance(curve, Counted) else curve.encode(plan, gone)
        for variable in self._single:
            found[variable.name] = value_of(variable, plan)
        return found


def is_drawn(space: Space, plan: Plan) -> bool:
    """Tell whether a plan is taught as those are that samplers draw."""
    for name, usual in space.taught.choices.items():
        variable, option = space.variable(name), plan.choices.get(name)
        drawn = variable is not None and option in variable.drawn
        if option != usual and not drawn:
            return False
    return True


def parameter_of(variable: Variable) -> Parameter:
    """Return the range or the options of one variable, as a sampler draws them."""
    return variable.bounds or Choice(tuple(map(str, variable.drawn)))


def option_of(variable: Variable, value: Value) -> Option:
    """Return the option that a sampler's value stands for."""
    if variable.bounds is not None:
        return variable.bounds.clip(float(value))
    return next((option for option in variable.options if str(option) == str(value)), variable.options[0])


def value_of(variable: Variable, plan: Plan) -> Value:
    """Return what a sampler would have drawn for the option of `plan`."""
    option = variable.legal(plan.choices.get(variable.name, variable.options[0]))
    return float(option) if variable.bounds is not None else str(option)


def sensitivity_ranks(space: Space, sensitivity: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Return the rank of each variable among those of its axis, from -1 (least sensitive) to 1 (most).

    Variables are compared at the option that leaves about half. Equal figures share a rank.

    Args:
        space: The space.
        sensitivity: Variable name -> divergence (nats) of each option; variables without one are left out.
    """
    from scipy.stats import rankdata  # takes a second to import

    ranks: dict[str, float] = {}
    for axis in space.axes:
        known = [v for v in space.of(axis.name) if v.name in sensitivity and v.kind == "ordered"]
        half = [min(range(1, len(v.parts)), key=lambda i, v=v: abs(v.parts[i] - 0.5)) for v in known]  # type: ignore[misc]
        figures = [sensitivity[v.name][i] for v, i in zip(known, half, strict=True)]
        places = rankdata(figures) if len(known) > 1 else [1.0] * len(known)
        last = max(1, len(known) - 1)
        for variable, place in zip(known, places, strict=True):
            ranks[variable.name] = 2 * (float(place) - 1) / last - 1 if len(known) > 1 else 0.0
    return ranks


def _snapped(variable: Variable, part: float, sort: str) -> Option:
    """Return the option of this sort, or the first one, that leaves about this part."""
    allowed = [i for i, family in enumerate(variable.families) if i == 0 or family == sort]
    if sort == "none":
        allowed = [0]
    return variable.options[min(allowed, key=lambda i: (abs(variable.parts[i] - part), i))]
