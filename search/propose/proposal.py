"""What proposers hand over: arms, proposals and candidates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...spaces.plan import Plan
from ...spaces.spec import StudentSpec
from ...spaces.variables import Value
from ..objectives import objective_costs, objective_value
from ..promotion import Promotion
from ..trial import Origin, Trial
from .by_hand import Design
from .encoding import Encoding
from .samplers import Sampler


@dataclass(frozen=True)
class Arm:
    """An encoding with a sampler over its numbers.

    Attributes:
        name: Of the encoding.
        encoding: Describes plans.
        sampler: Draws its numbers.
    """

    name: str
    encoding: Encoding
    sampler: Sampler


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
        technique: What it is made by hand to show, where it is.
        after: Number of the finished trial whose weights it begins with, None for the teacher's.
        deaths: Processes that died of that trial so far.
        others: Plans that may be tried in its place: the measured latencies of all decide.
    """

    plan: Plan
    origin: Origin
    label: str
    latent: Mapping[str, Value] | None
    ticket: int | None = None
    number: int | None = None
    arm: str = ""
    technique: str = ""
    after: int | None = None
    deaths: int = 0
    others: tuple[Plan, ...] = ()

    def trial(self, number: int, plan: Plan, spec: StudentSpec, seed: int) -> Trial:
        """Return the trial that begins with this proposal.

        Args:
            number: Of the trial.
            plan: The proposal's, as the space of today has it.
            spec: What the plan does to the teacher.
            seed: Of the search.
        """
        return Trial(
            number,
            plan,
            spec,
            self.origin,
            self.label,
            latent=self.latent,
            seed=seed,
            technique=self.technique,
            after=self.after,
            deaths=self.deaths,
        )

    @classmethod
    def of(cls, design: Design) -> Proposal:
        """Return the proposal of a design."""
        return cls(
            design.plan,
            design.origin,
            design.label,
            design.latent,
            technique=design.technique,
            after=design.after,
        )

    @classmethod
    def again(cls, trial: Trial) -> Proposal:
        """Return the proposal that goes on with a trial that was interrupted."""
        return cls(
            trial.plan,
            trial.origin,
            trial.label,
            trial.latent,
            number=trial.number,
            technique=trial.technique,
            after=trial.after,
            deaths=trial.deaths,
        )


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


def candidates_among(trials: Sequence[Trial], promotion: Promotion) -> list[Candidate]:
    """Return the trials that were measured, as proposals may start from them."""
    names, looks = promotion.objectives, promotion.limits.interest
    done = [(trial, objective_value("accuracy", trial.measured)) for trial in trials if trial.measured]
    return [Candidate(t, tuple(objective_costs(names, t.measured)), looks(t.gate, quality)) for t, quality in done]
