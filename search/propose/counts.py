"""How a sampler describes many parts of a network that stay or go: how many stay, and which go first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...spaces.plan import Plan
from ...spaces.variables import Number, Option, Value, Variable
from .encoding import Parameter

ORDERS = 9
"""So many orders are tried for a plan that is described."""


@dataclass(frozen=True)
class Counted:
    """How one role whose variables only stay or go is described.

    `level` is the part that stays. `order` says which go: those spread evenly over the depth at 0, as in DistilBERT
    (Sanh et al. 2019, arXiv:1910.01108, section 3), the least sensitive at 1, and a mixture between.

    Attributes:
        name: Of the role.
        variables: In order of depth, each with two options.
        ranks: Variable name -> how sensitive it is beside others of its axis, -1 to 1; 0 where that is not known.
    """

    name: str
    variables: tuple[Variable, ...]
    ranks: Mapping[str, float]

    def latent(self) -> dict[str, Parameter]:
        """Return the ranges of the two numbers."""
        return {f"{self.name}.level": Number(0.0, 1.0), f"{self.name}.order": Number(0.0, 1.0)}

    def decode(self, latent: Mapping[str, Value]) -> dict[str, Option]:
        """Return the options that they stand for."""
        count = len(self.variables)
        gone = self._gone(
            count - round(float(latent[f"{self.name}.level"]) * count), float(latent[f"{self.name}.order"])
        )
        return {v.name: v.options[int(i in gone)] for i, v in enumerate(self.variables)}

    def encode(self, plan: Plan) -> dict[str, Value]:
        """Return the part that stays, and the order by which most of those go that go in `plan`."""
        gone = {i for i, v in enumerate(self.variables) if v.index(plan.choices.get(v.name))}
        orders = np.linspace(0.0, 1.0, ORDERS)
        order = max(orders, key=lambda o: len(gone & self._gone(len(gone), float(o))))
        count = len(self.variables)
        return {f"{self.name}.level": 1 - len(gone) / count, f"{self.name}.order": float(order)}

    def _gone(self, count: int, order: float) -> set[int]:
        sensitive = np.array([(1 + self.ranks.get(v.name, 0.0)) / 2 for v in self.variables])
        even = np.ones(len(self.variables))
        even[evenly(len(self.variables), count)] = 0.0
        each = (1 - order) * even + order * sensitive
        return {int(i) for i in np.argsort(each, kind="stable")[:count]}


def on_or_off(variables: Sequence[Variable]) -> bool:
    """Tell whether each of these only stays or goes."""
    return all(variable.parts == (1.0, 0.0) for variable in variables)


def evenly(places: int, count: int) -> list[int]:
    """Return `count` of so many places, spread evenly, with as much in front of the first as behind the last."""
    return [int((i + 0.5) * places / count) for i in range(count)]
