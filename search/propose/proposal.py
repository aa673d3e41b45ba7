"""What proposers hand over: arms, proposals and candidates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...spaces.plan import Plan
from ...spaces.variables import Value
from ..trial import Origin, Trial
from .encoding import Encoding
from .samplers import Sampler


@dataclass(frozen=True)
class Arm:
    """An encoding with a sampler over its numbers.

    Attributes:
        name: Of the encoding.
        encoding: Describes plans.
        sampler: Draws its numbers.
        share: Of the proposals, against those of other ways.
    """

    name: str
    encoding: Encoding
    sampler: Sampler
    share: float = 1.0


@dataclass(frozen=True)
class Proposal:
    """A plan to try.

    Attributes:
        plan: The plan.
        origin: Who proposed it.
        label: What users see.
        latent: The numbers that it was decoded from, where it was.
        ticket: Of the arm's sampler, where that drew the plan.
        number: Of the trial that it goes on with, if any.
        arm: Name of the arm that drew it, if any did.
    """

    plan: Plan
    origin: Origin
    label: str
    latent: Mapping[str, Value] | None
    ticket: int | None = None
    number: int | None = None
    arm: str = ""


@dataclass(frozen=True)
class Candidate:
    """A finished trial that proposals may start from.

    Attributes:
        trial: The trial.
        cost: Its objectives, lower is better.
        interest: How much the user looks where it lies.
    """

    trial: Trial
    cost: tuple[float, ...]
    interest: float = 1.0
