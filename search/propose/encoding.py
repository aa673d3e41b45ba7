"""The seam of an encoding: plans described in a few numbers, which samplers draw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from ...spaces.plan import Plan
from ...spaces.variables import Number, Value


@dataclass(frozen=True)
class Choice:
    """One of a few options without order."""

    options: tuple[str, ...]


Parameter = Number | Choice


class Encoding(Protocol):
    """A description of plans in a few numbers."""

    def latent(self) -> dict[str, Parameter]:
        """Return the numbers that a sampler draws: name -> range or options."""
        ...

    def decode(self, latent: Mapping[str, Value]) -> Plan:
        """Return the legal plan that `latent` stands for. Every drawn value gives one."""
        ...

    def encode(self, plan: Plan) -> dict[str, Value] | None:
        """Return the numbers that come nearest to a plan; None where the plan cannot be described so."""
        ...
